# What the pretended provider answers where its real validators look at the form.

mock_resource "google_service_account" {
  defaults = {
    id     = "projects/demo-project/serviceAccounts/someone@demo-project.iam.gserviceaccount.com"
    name   = "projects/demo-project/serviceAccounts/someone@demo-project.iam.gserviceaccount.com"
    email  = "someone@demo-project.iam.gserviceaccount.com"
    member = "serviceAccount:someone@demo-project.iam.gserviceaccount.com"
  }
}

mock_resource "google_artifact_registry_repository" {
  defaults = { id = "projects/demo-project/locations/us-central1/repositories/keypackage-functions" }
}

mock_resource "google_pubsub_topic" {
  defaults = { id = "projects/demo-project/topics/mocked" }
}

mock_data "google_project" {
  defaults = { number = "123456789012" }
}
