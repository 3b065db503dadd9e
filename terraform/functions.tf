# What the functions have in common. Each has a file of its own for the rest.

locals {
  runtime         = "go126"
  timeout_seconds = 60 # of an invocation; the scheduled function works for at most 50

  # 200 would bring a fifth more pushes, at twice the waiting
  concurrency = 80

  # All functions get these settings, so that no two of them can disagree. Where to deliver is added for the three that are
  # not the gateway, whose address is known only when it has been deployed.
  environment = {
    GOOGLE_CLOUD_PROJECT   = var.project_id
    FIRESTORE_DATABASE     = var.database
    KEYPACKAGES_COLLECTION = local.collections.keypackages
    REQUESTS_COLLECTION    = local.collections.requests
    TOMBSTONES_COLLECTION  = local.collections.tombstones
    DELIVERIES_COLLECTION  = local.collections.deliveries
    CLAIMS_COLLECTION      = local.collections.claims
    LEDGER_COLLECTION      = local.collections.ledger
    PAIRS_COLLECTION       = local.collections.pairs
    OWNERS_COLLECTION      = local.collections.owners
    DELIVERY_TOPIC         = google_pubsub_topic.deliveries.name
    NOTICE_TOPIC           = google_pubsub_topic.notices.name
    RELAY_AUDIENCE         = local.relay_audience
    ROLLOUT_MODE           = coalesce(var.rollout_mode, "deliver")
    KEYPACKAGE_POLICY      = var.keypackage_policy
    REQUEST_MAX_AGE        = "${var.request_max_age}s"
    DELIVERY_TTL           = "${var.delivery_ttl}s"
    MAX_PER_OWNER          = tostring(var.max_per_owner)
    PAIR_LIMIT_PER_HOUR    = tostring(var.pair_limit_per_hour)
    OWNER_BUDGET_PER_HOUR  = tostring(var.owner_budget_per_hour)
  }

  environment_of_functions = merge(local.environment, {
    RELAY_DELIVERY_URL = local.relay_delivery_url
  })

  # The right to read and write documents, in this database and no other of the project.
  firestore_role = "roles/datastore.user"
  only_this_database = {
    title      = "keypackage database only"
    expression = "resource.name == \"${local.database_name}\""
  }
}
