locals {
  services = concat([
    "artifactregistry", "cloudbuild", "cloudfunctions", "cloudresourcemanager", "cloudscheduler", "eventarc", "firebaserules",
    "firestore", "iam", "logging", "monitoring", "pubsub", "run", "storage",
  ], var.budget == null ? [] : ["billingbudgets"])
}

# APIs stay enabled when this is destroyed: the project may use them for something else.
resource "google_project_service" "this" {
  for_each           = toset(local.services)
  service            = "${each.key}.googleapis.com"
  disable_on_destroy = false
}

data "google_project" "this" {
  project_id = var.project_id
  depends_on = [google_project_service.this]
}
