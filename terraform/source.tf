locals {
  source_zip = coalesce(var.source_zip, "${path.module}/upload.zip")
}

resource "google_storage_bucket" "source" {
  name                        = "${var.project_id}-keypackage-source"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true # everything in it can be built again
  depends_on                  = [google_project_service.this]
}

# The name holds the content's hash, because a function is deployed anew only if it changes.
resource "google_storage_bucket_object" "source" {
  bucket = google_storage_bucket.source.name
  name   = "${filesha256(local.source_zip)}.zip"
  source = local.source_zip
}

resource "google_artifact_registry_repository" "images" {
  repository_id = "keypackage-functions"
  location      = var.region
  format        = "DOCKER"

  cleanup_policies {
    id     = "keep-recent"
    action = "KEEP"
    most_recent_versions {
      keep_count = 5
    }
  }
  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      older_than = "2592000s" # 30 days
    }
  }

  depends_on = [google_project_service.this]
}

# Builds run under an identity of their own: the default one has no rights in new projects, and too many in old ones.

resource "google_service_account" "build" {
  account_id   = "keypackage-build"
  display_name = "Builds the KeyPackage functions"
  depends_on   = [google_project_service.this]
}

resource "google_project_iam_member" "build_logs" {
  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = google_service_account.build.member
}

# On the project, because the source is read from a bucket that Cloud Functions makes for itself; but from no other.
resource "google_project_iam_member" "build_source" {
  project = var.project_id
  role    = "roles/storage.objectViewer"
  member  = google_service_account.build.member
  condition {
    title      = "sources of functions only"
    expression = "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-${data.google_project.this.number}-${var.region}\")"
  }
}

resource "google_artifact_registry_repository_iam_member" "build_images" {
  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.build.member
}
