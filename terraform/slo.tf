# The four service levels, and alerts when one of them is being missed fast enough to matter.
#
# Each is a ratio of good to all, in PromQL over the log-based metrics, with WINDOW standing for a range. Two of them are
# exact as SLOs of Cloud Monitoring as well, which adds the error budget's history. The other two add up numbers out of
# distributions, which an SLO cannot.

locals {
  sum = { for name, metric in local.promql : name => "sum(increase(${metric}_sum{monitored_resource=\"cloud_run_revision\"}[WINDOW]))" }

  # Requests are judged by what we owe them. Those that are limited, ask for a suite that nobody has, or are invalid get
  # what they asked for; nobody's packages are missing if the owner had none before.
  answered   = ["granted", "partial"]
  unanswered = ["none"]
  judged     = "outcome=~\"${join("|", concat(local.answered, local.unanswered))}\",reason!=\"out_of_stock\""

  service_levels = {
    completed = {
      title = "Deliveries completed"
      goal  = 0.99
      # Deliveries that ended although a subscription may have been open: burned by an unclear push or by a refusal. Those
      # that were returned found nobody, or a relay that answered nobody, about which another alert tells.
      bad   = "((${local.sum.burned_exposure_unknown} or vector(0)) + (${local.sum.burned_parked} or vector(0)))"
      total = "((${local.sum.delivered} or vector(0)) + (${local.sum.burned_exposure_unknown} or vector(0)) + (${local.sum.burned_parked} or vector(0)))"
    }
    fast = {
      title = "Deliveries within 2 s of the request"
      goal  = 0.99
      bad   = "(sum(increase(${local.promql.request_to_delivery_ms}_count{monitored_resource=\"cloud_run_revision\"}[WINDOW])) - (sum(increase(${local.promql.request_to_delivery_ms}_bucket{monitored_resource=\"cloud_run_revision\",le=\"2000\"}[WINDOW])) or vector(0)))"
      total = "sum(increase(${local.promql.request_to_delivery_ms}_count{monitored_resource=\"cloud_run_revision\"}[WINDOW]))"
    }
    answered = {
      title = "Requests answered with a package"
      goal  = 0.95
      bad   = "(sum(increase(${local.promql.requests}{monitored_resource=\"cloud_run_revision\",outcome=~\"${join("|", local.unanswered)}\",reason!=\"out_of_stock\"}[WINDOW])) or vector(0))"
      total = "sum(increase(${local.promql.requests}{monitored_resource=\"cloud_run_revision\",${local.judged}}[WINDOW]))"
    }
    stocked = {
      title = "Owners with a package when asked"
      goal  = 0.99 # that we take nobody's last package is proved, not measured: owners delete theirs, or let them expire
      bad   = "(${local.sum.owners_empty} or vector(0))"
      total = local.sum.owners_asked
    }
  }

  # Share of bad in a window, and how fast the budget of 28 days may burn before somebody is told: 2 % of it in an hour, or
  # 5 % in six. The short window ends the alert soon after the cause (https://sre.google/workbook/alerting-on-slos/).
  burn_windows = {
    fast = { long = "1h", short = "5m", rate = 13.4, severity = "CRITICAL" }
    slow = { long = "6h", short = "30m", rate = 5.6, severity = "WARNING" }
  }

  # Nobody is told because of fewer than these in the long window: a handful of requests, a stranger's perhaps, is no share.
  least_volume = 50

  burns = merge([for level, l in local.service_levels : {
    for speed, w in local.burn_windows : "${level}-${speed}" => {
      level    = level
      title    = l.title
      severity = w.severity
      query = join(" and ", concat(
        [for window in [w.long, w.short] : "(${replace(l.bad, "WINDOW", window)} / ${replace(l.total, "WINDOW", window)} > ${min(w.rate * (1 - l.goal), 0.9)})"],
        ["(${replace(l.total, "WINDOW", w.long)} >= ${local.least_volume})"],
      ))
    }
  }]...)
}

resource "google_monitoring_alert_policy" "burn" {
  for_each              = local.burns
  display_name          = "KeyPackages: ${each.value.title} (${split("-", each.key)[1]} burn)"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local.notification_channels

  conditions {
    display_name = "Error budget burns"
    condition_prometheus_query_language {
      query                     = each.value.query
      duration                  = "120s"
      evaluation_interval       = "60s"
      disable_metric_validation = true # the metric has no data before the first request
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "${each.value.title}: the goal is being missed. Playbook: ${var.playbook_url}#service-level-${each.value.level}"
  }

  depends_on = [google_logging_metric.requests, google_logging_metric.count, google_logging_metric.duration]
}

resource "google_monitoring_custom_service" "delivery" {
  service_id   = "keypackage-delivery"
  display_name = "KeyPackage delivery"
  depends_on   = [google_project_service.this]
}

resource "google_monitoring_slo" "fast" {
  service             = google_monitoring_custom_service.delivery.service_id
  slo_id              = "fast"
  display_name        = local.service_levels.fast.title
  goal                = local.service_levels.fast.goal
  rolling_period_days = 28

  request_based_sli {
    distribution_cut {
      distribution_filter = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.duration["request_to_delivery"].name}\" resource.type=\"cloud_run_revision\""
      range {
        max = 2000 # milliseconds, as the metric; one of its bounds
      }
    }
  }
}

resource "google_monitoring_slo" "answered" {
  service             = google_monitoring_custom_service.delivery.service_id
  slo_id              = "answered"
  display_name        = local.service_levels.answered.title
  goal                = local.service_levels.answered.goal
  rolling_period_days = 28

  request_based_sli {
    good_total_ratio {
      good_service_filter  = "${local.requests_filter} metric.label.outcome=one_of(${join(",", formatlist("\"%s\"", local.answered))})"
      total_service_filter = "${local.requests_filter} metric.label.outcome=one_of(${join(",", formatlist("\"%s\"", concat(local.answered, local.unanswered)))}) metric.label.reason!=\"out_of_stock\""
    }
  }
}

locals {
  requests_filter = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.requests.name}\" resource.type=\"cloud_run_revision\""
}
