output "delivery_topic" {
  description = "Where the relay publishes {\"requester_pubkey\": ...} when a requester begins to listen."
  value       = google_pubsub_topic.deliveries.id
}

output "notice_subscription" {
  description = "From which the relay pulls what owners are to be told about their stock; null if relay_service_account is."
  value       = one(google_pubsub_subscription.relay_notices[*].id)
}

output "delivery_caller" {
  description = "Whose ID tokens the relay's delivery endpoint has to accept, with the audience relay_audience."
  value       = google_service_account.deliver.email
}

output "relay_audience" {
  description = "Audience of those tokens."
  value       = local.relay_audience
}

output "functions" {
  description = "Addresses of the functions, for callers inside the project."
  value = {
    claim   = google_cloudfunctions2_function.claim.service_config[0].uri
    deliver = google_cloudfunctions2_function.deliver.service_config[0].uri
    expire  = google_cloudfunctions2_function.expire.service_config[0].uri
  }
}

output "gateway" {
  description = "The gateway's own address, under which clients reach it as well as under gateway.hosts; null without it."
  value       = var.gateway == null ? null : "wss://${local.gateway_address}"
}

output "dashboard" {
  description = "The four service levels and what is behind them."
  value       = "https://console.cloud.google.com/monitoring/dashboards/builder/${reverse(split("/", google_monitoring_dashboard.this.id))[0]}?project=${var.project_id}"
}

output "logs" {
  description = "All lines of the functions, newest first."
  value       = "https://console.cloud.google.com/logs/query;query=${urlencode(local.any_line)}?project=${var.project_id}"
}

output "dead_letters" {
  description = "Shows messages that were given up."
  value       = "gcloud pubsub subscriptions pull ${google_pubsub_subscription.dead_letters.name} --limit=10 --project=${var.project_id}"
}
