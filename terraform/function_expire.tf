# ExpireDeliveries: called by Cloud Scheduler every minute.

resource "google_cloudfunctions2_function" "expire" {
  name        = "expire-deliveries"
  location    = var.region
  description = "Ends deliveries whose time is over, takes up what was lost on the way, keeps the stock clean"

  build_config {
    runtime           = local.runtime
    entry_point       = "ExpireDeliveries"
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
    service_account_email            = google_service_account.expire.email
    environment_variables            = local.environment_of_functions
    ingress_settings                 = "ALLOW_INTERNAL_ONLY" # Cloud Scheduler of the same project counts as internal
    available_cpu                    = "1"
    available_memory                 = "512Mi"
    timeout_seconds                  = local.timeout_seconds
    max_instance_request_concurrency = local.concurrency
    min_instance_count               = 0
    max_instance_count               = 2 # two runs beside each other are safe, more are of no use
  }

  depends_on = [
    google_firestore_index.this,
    google_project_iam_member.build_logs,
    google_project_iam_member.build_source,
    google_artifact_registry_repository_iam_member.build_images,
    google_project_iam_member.expire_firestore,
    google_pubsub_topic_iam_member.expire_publisher,
    google_pubsub_topic_iam_member.expire_notices,
  ]
}

resource "google_cloud_scheduler_job" "expire" {
  name             = "expire-deliveries"
  region           = var.region
  description      = "Calls ExpireDeliveries"
  schedule         = "* * * * *" # the finest grain there is
  time_zone        = "Etc/UTC"
  attempt_deadline = "${local.timeout_seconds}s"

  retry_config {
    retry_count = 0 # the next minute is the retry
  }

  http_target {
    uri         = google_cloudfunctions2_function.expire.service_config[0].uri
    http_method = "POST"
    oidc_token {
      service_account_email = google_service_account.expire_scheduler.email
      audience              = google_cloudfunctions2_function.expire.service_config[0].uri
    }
  }
}

# The function itself: documents, the messages that repeat lost ones, and what owners are told.

resource "google_service_account" "expire" {
  account_id   = "keypackage-expire"
  display_name = "ExpireDeliveries"
  depends_on   = [google_project_service.this]
}

resource "google_project_iam_member" "expire_firestore" {
  project = var.project_id
  role    = local.firestore_role
  member  = google_service_account.expire.member
  condition {
    title      = local.only_this_database.title
    expression = local.only_this_database.expression
  }
}

resource "google_pubsub_topic_iam_member" "expire_publisher" {
  topic  = google_pubsub_topic.deliveries.id
  role   = "roles/pubsub.publisher"
  member = google_service_account.expire.member
}

resource "google_pubsub_topic_iam_member" "expire_notices" {
  topic  = google_pubsub_topic.notices.id
  role   = "roles/pubsub.publisher"
  member = google_service_account.expire.member
}

# Its caller: the scheduler's job.

resource "google_service_account" "expire_scheduler" {
  account_id   = "keypackage-expire-scheduler"
  display_name = "Calls ExpireDeliveries every minute"
  depends_on   = [google_project_service.this]
}

resource "google_cloud_run_v2_service_iam_member" "expire_invoker" {
  name     = google_cloudfunctions2_function.expire.name
  location = google_cloudfunctions2_function.expire.location
  role     = "roles/run.invoker"
  member   = google_service_account.expire_scheduler.member
}
