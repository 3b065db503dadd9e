# What the three functions have in common. Each has a file of its own for the rest.

locals {
  runtime         = "go126"
  timeout_seconds = 60 # of an invocation; the scheduled function works for at most 50

  # 200 would bring a fifth more pushes, at twice the waiting: go run ./tests/bench -only concurrency
  concurrency = 80

  # All functions get all settings, so that no two of them can disagree.
  environment = {
    GOOGLE_CLOUD_PROJECT   = var.project_id
    FIRESTORE_DATABASE     = var.database
    KEYPACKAGES_COLLECTION = var.collections.keypackages
    REQUESTS_COLLECTION    = var.collections.requests
    TOMBSTONES_COLLECTION  = var.collections.tombstones
    DELIVERIES_COLLECTION  = var.collections.deliveries
    CLAIMS_COLLECTION      = var.collections.claims
    LEDGER_COLLECTION      = var.collections.ledger
    PAIRS_COLLECTION       = var.collections.pairs
    OWNERS_COLLECTION      = var.collections.owners
    DELIVERY_TOPIC         = google_pubsub_topic.deliveries.name
    NOTICE_TOPIC           = google_pubsub_topic.notices.name
    RELAY_DELIVERY_URL     = var.relay_delivery_url
    RELAY_AUDIENCE         = var.relay_audience == null ? "" : var.relay_audience
    ROLLOUT_MODE           = var.rollout_mode
    KEYPACKAGE_POLICY      = var.keypackage_policy
    REQUEST_MAX_AGE        = "${var.request_max_age}s"
    DELIVERY_TTL           = "${var.delivery_ttl}s"
    MAX_PER_OWNER          = tostring(var.max_per_owner)
    PAIR_LIMIT_PER_HOUR    = tostring(var.pair_limit_per_hour)
    OWNER_BUDGET_PER_HOUR  = tostring(var.owner_budget_per_hour)
  }

  # The right to read and write documents, in this database and no other of the project.
  firestore_role = "roles/datastore.user"
  only_this_database = {
    title      = "keypackage database only"
    expression = "resource.name == \"${local.database_name}\""
  }
}
