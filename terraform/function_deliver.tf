# DeliverKeyPackages: called by its push subscription (pubsub.tf) for every message of the delivery topic.

resource "google_cloudfunctions2_function" "deliver" {
  name        = "deliver-keypackages"
  location    = var.region
  description = "Pushes pending KeyPackages to the relay and records what became of them"

  build_config {
    runtime           = local.runtime
    entry_point       = "DeliverKeyPackages"
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
    service_account_email            = google_service_account.deliver.email
    environment_variables            = local.environment_of_functions
    ingress_settings                 = "ALLOW_INTERNAL_ONLY" # Pub/Sub of the same project counts as internal
    available_cpu                    = "1"
    available_memory                 = "512Mi"
    timeout_seconds                  = local.timeout_seconds
    max_instance_request_concurrency = local.concurrency
    min_instance_count               = var.min_instances
    max_instance_count               = var.max_instances
    direct_vpc_egress                = local.vpc_egress

    dynamic "direct_vpc_network_interface" {
      for_each = local.vpc
      content {
        network    = direct_vpc_network_interface.value.network
        subnetwork = direct_vpc_network_interface.value.subnetwork
        tags       = try(direct_vpc_network_interface.value.tags, [])
      }
    }
  }

  depends_on = [
    google_firestore_index.this,
    google_project_iam_member.build_logs,
    google_project_iam_member.build_source,
    google_artifact_registry_repository_iam_member.build_images,
    google_project_iam_member.deliver_firestore,
  ]
}

# The function itself: documents, and the relay (relay.tf). It cannot publish.

resource "google_service_account" "deliver" {
  account_id   = "keypackage-deliver"
  display_name = "DeliverKeyPackages"
  depends_on   = [google_project_service.this]
}

resource "google_project_iam_member" "deliver_firestore" {
  project = var.project_id
  role    = local.firestore_role
  member  = google_service_account.deliver.member
  condition {
    title      = local.only_this_database.title
    expression = local.only_this_database.expression
  }
}

# Its caller: the push subscription.

resource "google_service_account" "deliver_push" {
  account_id   = "keypackage-deliver-push"
  display_name = "Calls DeliverKeyPackages for messages of the delivery topic"
  depends_on   = [google_project_service.this]
}

resource "google_cloud_run_v2_service_iam_member" "deliver_invoker" {
  name     = google_cloudfunctions2_function.deliver.name
  location = google_cloudfunctions2_function.deliver.location
  role     = "roles/run.invoker"
  member   = google_service_account.deliver_push.member
}
