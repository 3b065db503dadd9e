# Metrics out of the functions' log lines: one structured line per invocation. Field names are an interface with the code,
# and a test holds both together.

locals {
  # The lines of one function, also if it was deployed without Terraform.
  lines = { for function in ["ClaimKeyPackages", "DeliverKeyPackages", "ExpireDeliveries"] : function =>
    "resource.type=\"cloud_run_revision\" AND labels.function=\"${function}\""
  }
  any_line = "resource.type=\"cloud_run_revision\" AND labels.function=(${join(" OR ", [for f in keys(local.lines) : "\"${f}\""])})"

  # Lines about one request's answer: those of ClaimKeyPackages, and those that ExpireDeliveries writes for what it takes up.
  answer_line = "${local.any_line} AND jsonPayload.request_event_id:* AND jsonPayload.counts.owners:*"

  # Sums of a number that lines carry under jsonPayload.counts.
  counts = {
    owners_asked            = { lines = local.answer_line, field = "owners", says = "Owners for whom a request was answered" }
    owners_empty            = { lines = local.answer_line, field = "empty", says = "Owners asked who had no valid package" }
    owners_on_reserve       = { lines = local.answer_line, field = "reserves", says = "Owners asked who had only their reserve left" }
    granted                 = { lines = local.answer_line, field = "granted", says = "Packages granted" }
    attempts                = { lines = local.lines.DeliverKeyPackages, field = "pushes", says = "Calls of the relay" }
    delivered               = { lines = local.lines.DeliverKeyPackages, field = "delivered", says = "Deliveries completed" }
    waiting                 = { lines = local.lines.DeliverKeyPackages, field = "waiting", says = "Deliveries for which nobody was there or listening" }
    unclear                 = { lines = local.lines.DeliverKeyPackages, field = "unclear", says = "Deliveries that may or may not have arrived" }
    returned                = { lines = local.lines.ExpireDeliveries, field = "returned", says = "Packages returned to stock unseen" }
    burned_exposure_unknown = { lines = local.lines.ExpireDeliveries, field = "burned_exposure_unknown", says = "Packages lost because the requester may have them" }
    burned_parked           = { lines = local.lines.ExpireDeliveries, field = "burned_parked", says = "Packages lost because the relay refused them" }
    burned_tombstoned       = { lines = local.lines.ExpireDeliveries, field = "burned_tombstoned", says = "Packages lost because their owner deleted them" }
    burned_package_expired  = { lines = local.lines.ExpireDeliveries, field = "burned_package_expired", says = "Packages lost because their own time was over" }
    notices                 = { lines = local.lines.ExpireDeliveries, field = "notices", says = "Levels of stock that owners were told of" }
    nudged                  = { lines = local.lines.ExpireDeliveries, field = "nudged", says = "Requesters whose delivery was asked for again" }
    taken_up                = { lines = local.lines.ExpireDeliveries, field = "taken_up", says = "Requests whose trigger was lost" }
    not_taken_up            = { lines = local.lines.ExpireDeliveries, field = "failed", says = "Requests without an answer that could not be taken up" }
    removed                 = { lines = local.lines.ExpireDeliveries, field = "removed", says = "Expired packages removed from stock" }
    retired                 = { lines = local.lines.ExpireDeliveries, field = "retired", says = "Exposed packages removed from stock" }
  }

  # How long things took, under jsonPayload.durations_ms.
  durations = {
    receipt_to_answer = {
      lines = local.answer_line, says = "From the relay's receipt of a request to its recorded answer"
    }
    # Only messages that name a request. Those that name a requester come when somebody begins to listen, or by the minute:
    # their deliveries waited for the requester, not for us.
    request_to_delivery = {
      lines = "${local.lines.DeliverKeyPackages} AND jsonPayload.request_event_id:*", says = "From the relay's receipt of a request to its delivery"
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
  filter      = "${local.any_line} AND jsonPayload.durations_ms.total:*"

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
  description = "Invocations with a result that somebody has to look at"
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
