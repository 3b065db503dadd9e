# Where to deliver, and the grants between the functions and a relay that is not deployed here.

locals {
  relay_delivery_url = var.gateway == null ? var.relay_delivery_url : "${google_cloudfunctions2_function.gateway[0].service_config[0].uri}/internal/v1/deliveries"

  # The gateway's is no address, so that nobody on the way takes the token for one that is meant for himself.
  relay_audience = coalesce(var.relay_audience, var.gateway == null ? try(regex("^https://[^/]+", var.relay_delivery_url), "") : "keypackage-gateway.${var.project_id}")

  vpc        = var.vpc[*]
  vpc_egress = var.vpc == null ? null : "VPC_EGRESS_${try(var.vpc.egress, "PRIVATE_RANGES_ONLY")}"
}

# A relay on Cloud Run that admits invokers only must admit the delivery function.
resource "google_cloud_run_v2_service_iam_member" "relay_invoker" {
  count    = var.relay_cloud_run_service == null ? 0 : 1
  name     = var.relay_cloud_run_service.name
  location = var.relay_cloud_run_service.location
  project  = lookup(var.relay_cloud_run_service, "project", var.project_id)
  role     = "roles/run.invoker"
  member   = google_service_account.deliver.member
}

# The relay publishes a nudge when a requester begins to listen.
resource "google_pubsub_topic_iam_member" "relay_publisher" {
  count  = var.relay_service_account == null ? 0 : 1
  topic  = google_pubsub_topic.deliveries.id
  role   = "roles/pubsub.publisher"
  member = "serviceAccount:${var.relay_service_account}"
}

# It pulls what owners are to be told about their stock. That is soon out of date.
resource "google_pubsub_subscription" "relay_notices" {
  count                      = var.relay_service_account == null ? 0 : 1
  name                       = "keypackage-notices-relay"
  topic                      = google_pubsub_topic.notices.id
  message_retention_duration = "600s"
  expiration_policy {
    ttl = ""
  }
}

resource "google_pubsub_subscription_iam_member" "relay_notices" {
  count        = var.relay_service_account == null ? 0 : 1
  subscription = google_pubsub_subscription.relay_notices[0].id
  role         = "roles/pubsub.subscriber"
  member       = "serviceAccount:${var.relay_service_account}"
}

# In a database that was created here nobody else has given the relay its rights.
resource "google_project_iam_member" "relay_firestore" {
  count   = var.create_database && var.relay_service_account != null ? 1 : 0
  project = var.project_id
  role    = local.firestore_role
  member  = "serviceAccount:${var.relay_service_account}"
  condition {
    title      = local.only_this_database.title
    expression = local.only_this_database.expression
  }
}
