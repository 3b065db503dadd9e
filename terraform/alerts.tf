# What wakes somebody: something fails, or something that should happen does not. Each alert links to its section of the
# playbook, which has the alert's name.

locals {
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.id]

  # A call that failed has a reason. A line with an alert is an ERROR as well, but its call came to its end.
  errors = { for f in local.functions : f => "sum(increase(${local.promql.invocations}{monitored_resource=\"cloud_run_revision\",function=\"${f}\",severity=\"ERROR\",reason!=\"\"}[10m]))" }
  all    = { for f in local.functions : f => "sum(increase(${local.promql.invocations}{monitored_resource=\"cloud_run_revision\",function=\"${f}\"}[10m]))" }
  done   = "increase(${local.promql.invocations}{monitored_resource=\"cloud_run_revision\",function=\"ExpireDeliveries\",reason=\"\"}[10m])"

  subscription = "monitored_resource=\"pubsub_subscription\",subscription_id"

  alerts = {
    claims-failing = {
      title    = "Requests cannot be taken up"
      severity = "CRITICAL"
      query    = "${local.errors.ClaimKeyPackages} / ${local.all.ClaimKeyPackages} > 0.05"
      duration = "300s"
    }
    deliveries-failing = {
      title    = "Deliveries fail"
      severity = "CRITICAL"
      query    = "${local.errors.DeliverKeyPackages} / ${local.all.DeliverKeyPackages} > 0.05"
      duration = "300s"
    }
    expiry-failing = {
      title    = "The scheduled function fails"
      severity = "ERROR"
      query    = "${local.errors.ExpireDeliveries} / ${local.all.ExpireDeliveries} > 0.5"
      duration = "300s"
    }
    expiry-silent = {
      title    = "The scheduled function has not run for 10 minutes"
      severity = "CRITICAL"
      query    = "(sum(${local.done}) or vector(0)) < 1"
      duration = "60s"
    }
    messages-stuck = {
      title    = "Delivery messages are not taken"
      severity = "CRITICAL"
      query    = "max(pubsub_googleapis_com:subscription_oldest_unacked_message_age{${local.subscription}=\"${google_pubsub_subscription.deliver.name}\"}) > 120"
      duration = "60s"
    }
    dead-letters = {
      title    = "Delivery messages were given up"
      severity = "ERROR"
      query    = "max(pubsub_googleapis_com:subscription_num_undelivered_messages{${local.subscription}=\"${google_pubsub_subscription.dead_letters.name}\"}) > 0"
      duration = "60s"
    }
    triggers-lost = {
      title    = "Requests arrive without their trigger"
      severity = "WARNING"
      query    = "${replace(local.sum.taken_up, "WINDOW", "30m")} > 5"
      duration = "0s"
    }
    requests-unanswered = {
      title    = "Requests stay without an answer"
      severity = "CRITICAL"
      query    = "${replace(local.sum.not_taken_up, "WINDOW", "10m")} > 0"
      duration = "300s"
    }
    relay-refuses = {
      title    = "The relay refuses what it is sent"
      severity = "ERROR"
      query    = "sum(increase(${local.promql.alerts}{monitored_resource=\"cloud_run_revision\",function=\"DeliverKeyPackages\"}[10m])) > 0"
      duration = "0s"
    }
    relay-unmarked = {
      title    = "The relay stores requests without the mark that finds them again"
      severity = "WARNING"
      query    = "${replace(local.sum.unmarked, "WINDOW", "30m")} > 5"
      duration = "0s"
    }
    expiry-behind = {
      title    = "The scheduled function does not get through its work"
      severity = "WARNING"
      # At least three runs in a row that stopped with "more" to do, and none that got through.
      query    = "(sum(increase(${local.promql.invocations}{monitored_resource=\"cloud_run_revision\",function=\"ExpireDeliveries\",outcome=\"more\"}[5m])) >= 3) unless (sum(increase(${local.promql.invocations}{monitored_resource=\"cloud_run_revision\",function=\"ExpireDeliveries\",outcome=\"done\"}[5m])) > 0)"
      duration = "0s"
    }
    expiry-hindered = {
      title    = "The scheduled function meets documents that it cannot read"
      severity = "WARNING"
      query    = "sum(increase(${local.promql.alerts}{monitored_resource=\"cloud_run_revision\",function=\"ExpireDeliveries\"}[10m])) > 0"
      duration = "0s"
    }
  }
}

resource "google_monitoring_notification_channel" "email" {
  for_each     = var.notification_emails
  display_name = each.key
  type         = "email"
  labels       = { email_address = each.key }
  depends_on   = [google_project_service.this]
}

resource "google_monitoring_alert_policy" "this" {
  for_each              = merge(local.alerts, local.gateway_alerts)
  display_name          = "KeyPackages: ${each.value.title}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local.notification_channels

  conditions {
    display_name = each.value.title
    condition_prometheus_query_language {
      query                     = each.value.query
      duration                  = each.value.duration
      evaluation_interval       = "60s"
      disable_metric_validation = true # a metric has no data before its first line
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "${each.value.title}. Playbook: ${var.playbook_url}#alert-${each.key}"
  }

  depends_on = [google_logging_metric.invocations, google_logging_metric.alerts, google_logging_metric.count]
}
