# Metrics out of the functions' log lines. Field names are an interface with the code: a test applies these filters to the
# lines that the built functions really write.

locals {
  # All lines of ours, also of functions that were deployed without Terraform.
  functions = ["ClaimKeyPackages", "DeliverKeyPackages", "ExpireDeliveries", "RelayGateway"]
  any_line  = "resource.type=\"cloud_run_revision\" AND labels.function=(\"ClaimKeyPackages\" OR \"DeliverKeyPackages\" OR \"ExpireDeliveries\" OR \"RelayGateway\")"

  # What a line is about stands in its field "line"; see shared/logging.
  invocation_line = "${local.any_line} AND jsonPayload.line=\"invocation\"" # one for each call of a function
  expiry_line     = "${local.invocation_line} AND labels.function=\"ExpireDeliveries\""
  gateway_line    = "${local.any_line} AND jsonPayload.line=\"gateway\"" # one a minute from each gateway with an open session

  # About one request's answer: of ClaimKeyPackages, of the gateway, and of ExpireDeliveries for what it takes up. An answer
  # that is repeated was counted before.
  answer_line = "${local.any_line} AND jsonPayload.request_event_id:* AND jsonPayload.counts.owners:* AND NOT jsonPayload.repeated:*"

  # About pushes: of DeliverKeyPackages, and of the gateway for those into its own sessions.
  push_line = "${local.any_line} AND jsonPayload.counts.pushes:*"

  # Sums of a number that lines carry under jsonPayload.counts.
  counts = {
    owners_asked            = { lines = local.answer_line, field = "owners", says = "Owners for whom a request was answered, without those who were out of stock before" }
    owners_empty            = { lines = local.answer_line, field = "empty", says = "Owners asked whose stock was found to have ended" }
    owners_out_of_stock     = { lines = local.answer_line, field = "out_of_stock", says = "Owners asked who had nothing the last time, or ever" }
    owners_on_reserve       = { lines = local.answer_line, field = "reserves", says = "Owners asked who had only their reserve left" }
    granted                 = { lines = local.answer_line, field = "granted", says = "Packages granted" }
    attempts                = { lines = local.push_line, field = "pushes", says = "Calls of the relay, or pushes into the gateway's own sessions" }
    delivered               = { lines = local.push_line, field = "delivered", says = "Deliveries completed" }
    waiting                 = { lines = local.push_line, field = "waiting", says = "Deliveries for which nobody was there or listening" }
    unclear                 = { lines = local.push_line, field = "unclear", says = "Deliveries that may or may not have arrived" }
    returned                = { lines = local.expiry_line, field = "returned", says = "Packages returned to stock unseen" }
    burned_exposure_unknown = { lines = local.expiry_line, field = "burned_exposure_unknown", says = "Packages lost because the requester may have them" }
    burned_parked           = { lines = local.expiry_line, field = "burned_parked", says = "Packages lost because the relay refused them" }
    burned_tombstoned       = { lines = local.expiry_line, field = "burned_tombstoned", says = "Packages lost because their owner deleted them" }
    burned_package_expired  = { lines = local.expiry_line, field = "burned_package_expired", says = "Packages lost because their own time was over" }
    notices                 = { lines = local.expiry_line, field = "notices", says = "Levels of stock that owners were told of" }
    nudged                  = { lines = local.expiry_line, field = "nudged", says = "Requesters whose delivery was asked for again" }
    taken_up                = { lines = local.expiry_line, field = "taken_up", says = "Requests whose trigger was lost" }
    not_taken_up            = { lines = local.expiry_line, field = "failed", says = "Requests without an answer that could not be taken up" }
    removed                 = { lines = local.expiry_line, field = "removed", says = "Expired packages removed from stock" }
    dismissed               = { lines = local.expiry_line, field = "dismissed", says = "Requests given up: too old, or not to be read" }
    unreadable              = { lines = local.expiry_line, field = "unreadable", says = "Documents that could not be read and were passed over" }
    unmarked                = { lines = local.answer_line, field = "unmarked", says = "Requests that the relay stored without the mark open" }
    retired                 = { lines = local.expiry_line, field = "retired", says = "Reserves removed from stock" }

    # Of the minute that a gateway's line ends; sessions are those open at its end.
    gateway_sessions          = { lines = local.gateway_line, field = "sessions", says = "Open sessions" }
    gateway_logins            = { lines = local.gateway_line, field = "logins", says = "Logins accepted (NIP-42)" }
    gateway_logins_refused    = { lines = local.gateway_line, field = "logins_refused", says = "Logins refused: signature, challenge, time or name of the relay" }
    gateway_upstream_dialled  = { lines = local.gateway_line, field = "upstream_dialled", says = "Connections to the upstream relay that were tried" }
    gateway_upstream_failed   = { lines = local.gateway_line, field = "upstream_failed", says = "Connections to the upstream relay that could not be made" }
    gateway_publish_refused   = { lines = local.gateway_line, field = "publish_refused", says = "KeyPackages refused when published" }
    gateway_rate_limited      = { lines = local.gateway_line, field = "rate_limited", says = "Frames refused because there were too many" }
    gateway_sessions_too_slow = { lines = local.gateway_line, field = "too_slow", says = "Sessions ended because their client did not read" }
  }

  # How long things took, under jsonPayload.durations_ms.
  durations = {
    receipt_to_answer = {
      lines = local.answer_line, says = "From the relay's receipt of a request to its recorded answer"
    }
    # Only messages that name a request. Those that name a requester come when somebody begins to listen, or by the minute:
    # their deliveries waited for the requester, not for us.
    request_to_delivery = {
      lines = "${local.push_line} AND jsonPayload.request_event_id:*", says = "From the relay's receipt of a request to its delivery"
    }
  }

  # Names of the metrics in PromQL.
  promql = { for name in concat(["requests", "invocations", "alerts"], keys(local.counts), [for d in keys(local.durations) : "${d}_ms"]) :
    name => "logging_googleapis_com:user_keypackage_${name}"
  }
}

resource "google_logging_metric" "requests" {
  name        = "keypackage/requests"
  description = "Requests answered, by outcome and reason"
  filter      = local.answer_line

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"
    labels { key = "outcome" }
    labels { key = "reason" }
  }
  label_extractors = {
    outcome = "EXTRACT(jsonPayload.outcome)"
    reason  = "EXTRACT(jsonPayload.request_reason)"
  }
  depends_on = [google_project_service.this]
}

resource "google_logging_metric" "invocations" {
  name        = "keypackage/invocations"
  description = "Invocations, by function, outcome, severity (ERROR: will be tried again, or somebody has to look) and reason of the error"
  filter      = local.invocation_line

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"
    labels { key = "function" }
    labels { key = "outcome" }
    labels { key = "severity" }
    labels { key = "reason" }
  }
  label_extractors = {
    function = "EXTRACT(labels.function)"
    outcome  = "EXTRACT(jsonPayload.outcome)"
    severity = "EXTRACT(severity)"
    reason   = "EXTRACT(jsonPayload.reason)"
  }
  depends_on = [google_project_service.this]
}

resource "google_logging_metric" "alerts" {
  name        = "keypackage/alerts"
  description = "Lines with a result that somebody has to look at"
  filter      = "${local.any_line} AND jsonPayload.alerts:*"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"
    labels { key = "function" }
  }
  label_extractors = {
    function = "EXTRACT(labels.function)"
  }
  depends_on = [google_project_service.this]
}

resource "google_logging_metric" "count" {
  for_each        = local.counts
  name            = "keypackage/${each.key}"
  description     = each.value.says
  filter          = "${each.value.lines} AND jsonPayload.counts.${each.value.field}>0"
  value_extractor = "EXTRACT(jsonPayload.counts.${each.value.field})"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION" # only distributions add up a number; their sum is what is used
    unit        = "1"
  }
  bucket_options {
    exponential_buckets {
      num_finite_buckets = 16
      growth_factor      = 2
      scale              = 1
    }
  }
  depends_on = [google_project_service.this]
}

resource "google_logging_metric" "duration" {
  for_each        = local.durations
  name            = "keypackage/${each.key}_ms"
  description     = each.value.says
  filter          = "${each.value.lines} AND jsonPayload.durations_ms.${each.key}>=0"
  value_extractor = "EXTRACT(jsonPayload.durations_ms.${each.key})"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = "ms"
  }
  bucket_options {
    explicit_buckets {
      bounds = [10, 25, 50, 100, 200, 300, 500, 750, 1000, 1500, 2000, 3000, 5000, 10000, 30000, 60000, 300000]
    }
  }
  depends_on = [google_project_service.this]
}
