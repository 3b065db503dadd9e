# ClaimKeyPackages: called by Eventarc for every document created in the requests collection.

resource "google_cloudfunctions2_function" "claim" {
  name        = "claim-keypackages"
  location    = var.region
  description = "Takes up stored KeyPackage requests: claims, records the answer, asks for the delivery"

  build_config {
    runtime           = local.runtime
    entry_point       = "ClaimKeyPackages"
    service_account   = google_service_account.build.id
    docker_repository = google_artifact_registry_repository.images.id
    source {
      storage_source {
        bucket = google_storage_bucket_object.source.bucket
        object = google_storage_bucket_object.source.name
      }
    }
  }

  service_config {
    service_account_email            = google_service_account.claim.email
    environment_variables            = local.environment_of_functions
    ingress_settings                 = "ALLOW_INTERNAL_ONLY" # Eventarc counts as internal
    available_cpu                    = "1"
    available_memory                 = "512Mi"
    timeout_seconds                  = local.timeout_seconds
    max_instance_request_concurrency = local.concurrency
    min_instance_count               = var.min_instances
    max_instance_count               = var.max_instances
  }

  event_trigger {
    trigger_region        = local.database_location # of the database, also if that is nam5 or eur3
    event_type            = "google.cloud.firestore.document.v1.created"
    retry_policy          = "RETRY_POLICY_RETRY" # without it a failed event is lost
    service_account_email = google_service_account.claim_trigger.email
    event_filters {
      attribute = "database"
      value     = var.database
    }
    event_filters {
      attribute = "document"
      operator  = "match-path-pattern"
      value     = "${local.collections.requests}/{request}"
    }
  }

  depends_on = [
    google_firestore_database.this,
    google_firestore_index.this,
    google_project_iam_member.build_logs,
    google_project_iam_member.build_source,
    google_artifact_registry_repository_iam_member.build_images,
    google_project_iam_member.claim_firestore,
    google_project_iam_member.claim_trigger_receiver,
    google_pubsub_topic_iam_member.claim_publisher,
  ]
}

# The function itself: documents, and the message that asks for the delivery.

resource "google_service_account" "claim" {
  account_id   = "keypackage-claim"
  display_name = "ClaimKeyPackages"
  depends_on   = [google_project_service.this]
}

resource "google_project_iam_member" "claim_firestore" {
  project = var.project_id
  role    = local.firestore_role
  member  = google_service_account.claim.member
  condition {
    title      = local.only_this_database.title
    expression = local.only_this_database.expression
  }
}

resource "google_pubsub_topic_iam_member" "claim_publisher" {
  topic  = google_pubsub_topic.deliveries.id
  role   = "roles/pubsub.publisher"
  member = google_service_account.claim.member
}

# Its caller: receives the database's events and may call this function only.

resource "google_service_account" "claim_trigger" {
  account_id   = "keypackage-claim-trigger"
  display_name = "Calls ClaimKeyPackages for new requests"
  depends_on   = [google_project_service.this]
}

resource "google_project_iam_member" "claim_trigger_receiver" {
  project = var.project_id
  role    = "roles/eventarc.eventReceiver"
  member  = google_service_account.claim_trigger.member
}

resource "google_cloud_run_v2_service_iam_member" "claim_invoker" {
  name     = google_cloudfunctions2_function.claim.name
  location = google_cloudfunctions2_function.claim.location
  role     = "roles/run.invoker"
  member   = google_service_account.claim_trigger.member
}
