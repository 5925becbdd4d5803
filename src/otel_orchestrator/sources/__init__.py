"""Where runs are read from: run files, exports of a Collector, Jaeger. One decoder for all."""
