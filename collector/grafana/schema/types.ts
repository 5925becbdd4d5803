// What our files may say, in Grafana's own types. make.py turns this into schema.json.
//
// Dashboards and queries are typed by what Grafana publishes on npm. Of provisioning it publishes no
// types: the second half follows what its server reads (pkg/services/provisioning, pkg/expr/threshold.go
// and the settings page of its Jaeger data source).

import type * as board from './node_modules/@grafana/schema/dist/types/raw/dashboard/x/types.gen';
import type * as common from './node_modules/@grafana/schema/dist/types/common/common.gen';
import type * as bargauge from './node_modules/@grafana/schema/dist/types/raw/composable/bargauge/panelcfg/x/types.gen';
import type * as heatmap from './node_modules/@grafana/schema/dist/types/raw/composable/heatmap/panelcfg/x/types.gen';
import type * as table from './node_modules/@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen';
import type * as text from './node_modules/@grafana/schema/dist/types/raw/composable/text/panelcfg/x/types.gen';
import type * as timeseries from './node_modules/@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';
import type { Prometheus } from './node_modules/@grafana/prometheus/dist/types/dataquery';
import type { PromOptions, StandardPromVariableQuery } from './node_modules/@grafana/prometheus/dist/types/types';

type Source = Required<board.DataSourceRef>;
type Query = Omit<Prometheus, 'datasource' | 'scopes' | 'adhocFilters'> & { datasource: Source };

type Of<Type extends string, Options, Custom> = Omit<
  board.Panel,
  'type' | 'options' | 'fieldConfig' | 'targets' | 'datasource'
> & {
  type: Type;
  options: Options;
  fieldConfig: {
    defaults: Omit<board.FieldConfig, 'custom'> & { custom?: Custom };
    overrides: board.FieldConfigSource['overrides'];
  };
  targets: Query[];
  datasource: Source;
};

export type Panel =
  | Of<'timeseries', timeseries.Options, Partial<timeseries.FieldConfig>>
  | Of<'heatmap', heatmap.Options, Partial<heatmap.FieldConfig>>
  | Of<'table', table.Options, Partial<common.TableFieldOptions>>
  | Of<'bargauge', bargauge.Options, never>
  | Omit<Of<'text', text.Options, never>, 'targets' | 'datasource'>;

type Variable = Omit<board.VariableModel, 'type' | 'query' | 'datasource'> &
  (
    | { type: 'datasource'; query: string }
    | { type: 'query'; query: StandardPromVariableQuery; datasource: Source; definition: string }
  );

export type Dashboard = Omit<board.Dashboard, 'panels' | 'templating'> & {
  uid: string;
  title: string;
  panels: Panel[];
  templating: { list: Variable[] };
};

// --- provisioning/alerting ---

type Duration = string;

export interface AlertRules {
  apiVersion: 1;
  groups: Array<{
    orgId?: number;
    name: string;
    folder: string;
    interval: Duration;
    rules: Rule[];
  }>;
}

interface Rule {
  uid: string;
  title: string;
  condition: string;
  data: Array<QueryOfRule | Threshold>;
  dashboardUid?: string;
  panelId?: number;
  noDataState: 'Alerting' | 'NoData' | 'OK' | 'KeepLast';
  execErrState: 'Alerting' | 'Error' | 'OK' | 'KeepLast';
  for: Duration;
  keepFiringFor?: Duration;
  missing_series_evals_to_resolve?: number;
  annotations: Record<string, string>;
  labels: Record<string, string>;
  isPaused?: boolean;
}

interface OfRule<Uid extends string, Model> {
  refId: string;
  queryType?: string;
  relativeTimeRange: { from: number; to: number };
  datasourceUid: Uid;
  model: Model;
}

type QueryOfRule = OfRule<
  'prometheus',
  Omit<Prometheus, 'datasource' | 'scopes' | 'adhocFilters' | 'range' | 'instant'> & { instant: true; range: false }
>;

type Threshold = OfRule<
  '__expr__',
  {
    refId: string;
    type: 'threshold';
    expression: string;
    conditions: [{ evaluator: { type: 'gt' | 'lt' | 'gte' | 'lte' | 'eq' | 'ne'; params: [number] } }];
  }
>;

export interface Notifications {
  apiVersion: 1;
  contactPoints: Array<{
    orgId?: number;
    name: string;
    receivers: Array<{
      uid: string;
      type: 'webhook';
      settings: {
        url: string;
        httpMethod?: 'POST' | 'PUT';
        username?: string;
        password?: string;
        authorization_scheme?: string;
        authorization_credentials?: string;
        maxAlerts?: number | string;
        title?: string;
        message?: string;
      };
      disableResolveMessage?: boolean;
    }>;
  }>;
  policies: Array<Route & { orgId?: number; receiver: string; routes?: Route[] }>;
}

interface Route {
  receiver?: string;
  group_by?: string[];
  continue?: boolean;
  object_matchers?: Array<[string, '=' | '!=' | '=~' | '!~', string]>;
  mute_time_intervals?: string[];
  active_time_intervals?: string[];
  group_wait?: Duration;
  group_interval?: Duration;
  repeat_interval?: Duration;
}

// --- provisioning/dashboards and provisioning/datasources ---

export interface Providers {
  apiVersion: 1;
  providers: Array<{
    name: string;
    orgId?: number;
    folder?: string;
    folderUid?: string;
    type: 'file';
    disableDeletion?: boolean;
    editable?: boolean;
    allowUiUpdates?: boolean;
    updateIntervalSeconds?: number;
    options: { path: string; foldersFromFilesStructure?: boolean };
  }>;
}

interface Connection<Type extends string, Settings> {
  name: string;
  uid: string;
  type: Type;
  access: 'proxy';
  orgId?: number;
  url: string;
  isDefault?: boolean;
  editable?: boolean;
  version?: number;
  jsonData: Settings;
}

interface JaegerSettings {
  nodeGraph?: { enabled: boolean };
  spanBar?: { type: string; tag?: string };
  traceIdTimeParams?: { enabled: boolean };
  tracesToMetrics?: {
    datasourceUid: string;
    spanStartTimeShift?: Duration;
    spanEndTimeShift?: Duration;
    tags?: Array<{ key: string; value?: string }>;
    queries: Array<{ name?: string; query?: string }>;
  };
}

export interface DataSources {
  apiVersion: 1;
  datasources: Array<Connection<'prometheus', PromOptions> | Connection<'jaeger', JaegerSettings>>;
}
