resource "google_pubsub_topic" "deliveries" {
  name       = "keypackage-deliveries"
  depends_on = [google_project_service.this]
}

# The delivery function gets a subscription of its own, because one that Eventarc makes waits at least 10 s before it tries
# again, and neither that nor its dead letters can be configured.
resource "google_pubsub_subscription" "deliver" {
  name  = "deliver-keypackages"
  topic = google_pubsub_topic.deliveries.id

  push_config {
    push_endpoint = google_cloudfunctions2_function.deliver.service_config[0].uri
    oidc_token {
      service_account_email = google_service_account.deliver_push.email
      audience              = google_cloudfunctions2_function.deliver.service_config[0].uri
    }
  }

  # An unacknowledged message is sent again after this; the function's own timeout is shorter.
  ack_deadline_seconds = local.timeout_seconds + 10

  # A message is a hint that something is pending, and the scheduled function repeats it while that is so. An hour bridges a
  # broken deployment.
  message_retention_duration = "3600s"

  retry_policy {
    minimum_backoff = "1s"
    maximum_backoff = "30s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letters.id
    max_delivery_attempts = 15 # six minutes with that backoff: longer than a delivery lives
  }

  expiration_policy {
    ttl = "" # never: the default removes a subscription after 31 idle days
  }

  depends_on = [google_service_account_iam_member.push_token]
}

resource "google_pubsub_topic" "dead_letters" {
  name       = "keypackage-deliveries-dead"
  depends_on = [google_project_service.this]
}

resource "google_pubsub_subscription" "dead_letters" {
  name                       = "keypackage-deliveries-dead"
  topic                      = google_pubsub_topic.dead_letters.id
  message_retention_duration = "1209600s" # two weeks to look at them
  expiration_policy {
    ttl = ""
  }
}

# Pub/Sub itself moves dead letters: it publishes to the one topic and acknowledges on the other subscription.

locals {
  pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

resource "google_pubsub_topic_iam_member" "dead_letters_publisher" {
  topic  = google_pubsub_topic.dead_letters.id
  role   = "roles/pubsub.publisher"
  member = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "dead_letters_subscriber" {
  subscription = google_pubsub_subscription.deliver.id
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}

# Pub/Sub makes the token of its pushes for this account. Its agent has that right by itself only in projects made since
# April 2021.
resource "google_service_account_iam_member" "push_token" {
  service_account_id = google_service_account.deliver_push.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = local.pubsub_agent
}

# What owners are told about their stock. The relay pulls it and passes it on to whoever is connected; see relay.tf.
resource "google_pubsub_topic" "notices" {
  name       = "keypackage-notices"
  depends_on = [google_project_service.this]
}
