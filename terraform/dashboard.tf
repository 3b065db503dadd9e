locals {
  # Title, and one PromQL query for each line of the chart.
  charts = concat(
    [for level, l in local.service_levels : {
      title   = "${l.title} (goal ${l.goal * 100} %)"
      queries = { good = "1 - ${replace(l.bad, "WINDOW", "1h")} / ${replace(l.total, "WINDOW", "1h")}" }
    }],
    [
      {
        title   = "Requests per minute, by outcome"
        queries = { outcome = "sum by (outcome) (rate(${local.promql.requests}{monitored_resource=\"cloud_run_revision\"}[5m])) * 60" }
      },
      {
        title   = "Limits and rejections per minute, by reason"
        queries = { reason = "sum by (reason) (rate(${local.promql.requests}{monitored_resource=\"cloud_run_revision\",reason!=\"\"}[5m])) * 60" }
      },
      {
        title = "Request to delivery, ms"
        queries = { for q in [50, 90, 99] :
          "p${q}" => "histogram_quantile(${q / 100}, sum by (le) (rate(${local.promql.request_to_delivery_ms}_bucket{monitored_resource=\"cloud_run_revision\"}[10m])))"
        }
      },
      {
        title = "Receipt to answer, ms"
        queries = { for q in [50, 90, 99] :
          "p${q}" => "histogram_quantile(${q / 100}, sum by (le) (rate(${local.promql.receipt_to_answer_ms}_bucket{monitored_resource=\"cloud_run_revision\"}[10m])))"
        }
      },
      {
        title   = "Stock: packages granted, owners on their reserve, without a package, or told to refill (10 min)"
        queries = { for name in ["granted", "owners_on_reserve", "owners_empty", "notices"] : name => replace(local.sum[name], "WINDOW", "10m") }
      },
      {
        title   = "Pushes: attempts, delivered, waiting, unclear (10 min)"
        queries = { for name in ["attempts", "delivered", "waiting", "unclear"] : name => replace(local.sum[name], "WINDOW", "10m") }
      },
      {
        title   = "Ended undelivered: returned to stock, or burned by reason (10 min)"
        queries = { for name in ["returned", "burned_exposure_unknown", "burned_parked", "burned_tombstoned", "burned_package_expired"] : name => replace(local.sum[name], "WINDOW", "10m") }
      },
      {
        title   = "Made good by the scheduled function (10 min)"
        queries = { for name in ["nudged", "taken_up", "not_taken_up", "dismissed", "unreadable", "removed", "retired"] : name => replace(local.sum[name], "WINDOW", "10m") }
      },
      {
        title   = "Errors per minute, by function and reason"
        queries = { errors = "sum by (function, reason) (rate(${local.promql.invocations}{monitored_resource=\"cloud_run_revision\",severity=\"ERROR\"}[5m])) * 60" }
      },
      {
        title   = "Oldest unacknowledged message, s"
        queries = { deliver = "max(pubsub_googleapis_com:subscription_oldest_unacked_message_age{${local.subscription}=\"${google_pubsub_subscription.deliver.name}\"})" }
      },
    ],
    var.gateway == null ? [] : [
      {
        title   = "Gateway: open sessions"
        queries = { sessions = "${replace(local.sum.gateway_sessions, "WINDOW", "5m")} / 5" }
      },
      {
        title   = "Gateway: logins accepted and refused, upstream that cannot be reached, publishing refused, frames too many, clients too slow (10 min)"
        queries = { for name in ["logins", "logins_refused", "upstream_failed", "publish_refused", "rate_limited", "sessions_too_slow"] : name => replace(local.sum["gateway_${name}"], "WINDOW", "10m") }
      },
    ],
  )
  tile = { width = 24, height = 16 } # two beside each other on a grid of 48 columns
}

resource "google_monitoring_dashboard" "this" {
  dashboard_json = jsonencode({
    displayName = "KeyPackage delivery"
    mosaicLayout = {
      columns = 2 * local.tile.width
      tiles = [for i, chart in local.charts : {
        xPos   = i % 2 * local.tile.width
        yPos   = floor(i / 2) * local.tile.height
        width  = local.tile.width
        height = local.tile.height
        widget = {
          title = chart.title
          xyChart = {
            dataSets = [for name, query in chart.queries : {
              plotType       = "LINE"
              legendTemplate = length(chart.queries) > 1 ? name : ""
              timeSeriesQuery = {
                prometheusQuery = query
              }
            }]
          }
        }
      }]
    }
  })
  depends_on = [google_logging_metric.requests, google_logging_metric.invocations, google_logging_metric.count, google_logging_metric.duration]
}
