# What an operator can choose: the database, the relay, the network, the rollout.

mock_provider "google" {
  source = "./tests/mocks"
}

variables {
  project_id         = "demo-project"
  region             = "us-central1"
  relay_delivery_url = "https://relay.example.com/internal/v1/deliveries"
  source_zip         = "tests/upload.zip"
}

run "multi_region_database" {
  variables {
    database_location = "nam5"
  }
  assert {
    condition     = google_cloudfunctions2_function.claim.event_trigger[0].trigger_region == "nam5" && google_cloudfunctions2_function.claim.location == "us-central1"
    error_message = "The trigger lives where the database is, the function in a real region."
  }
  assert {
    condition     = google_firestore_database.this[0].location_id == "nam5"
    error_message = "The database is created in its location."
  }
}

run "european_database" {
  variables {
    region            = "europe-west4"
    database_location = "eur3"
  }
  assert {
    condition     = google_cloudfunctions2_function.claim.event_trigger[0].trigger_region == "eur3" && google_cloudfunctions2_function.claim.location == "europe-west4"
    error_message = "The trigger lives where the database is, the function in a real region."
  }
}

run "single_region_database" {
  assert {
    condition     = google_cloudfunctions2_function.claim.event_trigger[0].trigger_region == "us-central1" && google_firestore_database.this[0].location_id == "us-central1"
    error_message = "Without a location the database is where the functions are."
  }
  assert {
    condition     = google_firestore_database.this[0].delete_protection_state == "DELETE_PROTECTION_ENABLED" && google_firestore_database.this[0].deletion_policy == "ABANDON"
    error_message = "Nobody loses the ledger by `terraform destroy`."
  }
  assert {
    condition     = google_firestore_database.this[0].point_in_time_recovery_enablement == "POINT_IN_TIME_RECOVERY_ENABLED"
    error_message = "The database can be read as it was at any minute of the last seven days."
  }
  assert {
    condition     = google_cloudfunctions2_function.claim.service_config[0].environment_variables.ROLLOUT_MODE == "deliver"
    error_message = "A fresh database, from which no relay hands out anything, begins in deliver."
  }
  assert {
    condition     = google_firebaserules_release.firestore[0].name == "cloud.firestore" && strcontains(google_firebaserules_ruleset.deny_all[0].source[0].files[0].content, "allow read, write: if false;")
    error_message = "The rules of the default database deny everything."
  }
}

run "named_database" {
  variables {
    database = "keypackages"
  }
  assert {
    condition     = google_firebaserules_release.firestore[0].name == "cloud.firestore/keypackages"
    error_message = "The rules of a named database are released under its name."
  }
  assert {
    condition     = alltrue(concat([for index in google_firestore_index.this : index.database == "keypackages"], [for field in google_firestore_field.this : field.database == "keypackages"]))
    error_message = "Indexes and TTL policies belong to the named database."
  }
  assert {
    condition     = google_project_iam_member.claim_firestore.condition[0].expression == "resource.name == \"projects/demo-project/databases/keypackages\"" && google_cloudfunctions2_function.claim.service_config[0].environment_variables.FIRESTORE_DATABASE == "keypackages"
    error_message = "The functions use the named database and may touch it only."
  }
}

run "existing_database" {
  variables {
    create_database       = false
    rollout_mode          = "off"
    database_location     = "nam5"
    relay_service_account = "relay@demo-project.iam.gserviceaccount.com"
    collections           = { requests = "events" }
  }
  assert {
    condition     = length(google_firestore_database.this) + length(google_firebaserules_ruleset.deny_all) + length(google_firebaserules_release.firestore) == 0
    error_message = "An existing database and its rules are left alone."
  }
  assert {
    condition     = length(google_project_iam_member.relay_firestore) == 0 && length(google_pubsub_topic_iam_member.relay_publisher) == 1
    error_message = "The relay has its rights in its database already; it is only allowed to publish nudges."
  }
  assert {
    condition     = length(google_firestore_index.this) == length(jsondecode(file("../shared/store/indexes.json")).indexes) && contains([for f in google_firestore_field.this : "${f.collection} ${f.field}"], "events event")
    error_message = "Indexes are created in an existing database too, for its collections."
  }
  assert {
    condition     = contains([for filter in google_cloudfunctions2_function.claim.event_trigger[0].event_filters : filter.value], "events/{request}")
    error_message = "The trigger sits on the collection that was named."
  }
  assert {
    condition     = google_cloudfunctions2_function.claim.service_config[0].environment_variables.ROLLOUT_MODE == "off"
    error_message = "The functions are in the mode that was said."
  }
}

run "private_relay" {
  variables {
    relay_service_account   = "relay@demo-project.iam.gserviceaccount.com"
    relay_cloud_run_service = { name = "relay", location = "us-central1" }
    relay_audience          = "https://relay-internal.example.com"
    vpc                     = { network = "default", subnetwork = "default", egress = "ALL_TRAFFIC" }
  }
  assert {
    condition     = google_cloud_run_v2_service_iam_member.relay_invoker[0].role == "roles/run.invoker" && google_cloud_run_v2_service_iam_member.relay_invoker[0].name == "relay" && google_cloud_run_v2_service_iam_member.relay_invoker[0].project == "demo-project"
    error_message = "The delivery function may call the relay."
  }
  assert {
    condition     = google_project_iam_member.relay_firestore[0].member == "serviceAccount:relay@demo-project.iam.gserviceaccount.com" && google_project_iam_member.relay_firestore[0].role == "roles/datastore.user"
    error_message = "The relay may use the database that was created for it."
  }
  assert {
    condition     = google_pubsub_subscription_iam_member.relay_notices[0].role == "roles/pubsub.subscriber" && google_pubsub_subscription.relay_notices[0].expiration_policy[0].ttl == ""
    error_message = "The relay may pull what owners are to be told."
  }
  assert {
    condition     = google_cloudfunctions2_function.deliver.service_config[0].direct_vpc_egress == "VPC_EGRESS_ALL_TRAFFIC" && length(google_cloudfunctions2_function.deliver.service_config[0].direct_vpc_network_interface) == 1
    error_message = "The delivery function reaches the relay through the network."
  }
  assert {
    condition     = google_cloudfunctions2_function.deliver.service_config[0].environment_variables.RELAY_AUDIENCE == "https://relay-internal.example.com"
    error_message = "The token's audience is the one that was named."
  }
}

run "public_relay" {
  assert {
    condition     = output.relay_audience == "https://relay.example.com"
    error_message = "Without an audience it is the origin of the relay's URL."
  }
}

run "cautious_rollout" {
  variables {
    rollout_mode    = "observe"
    request_max_age = 600
    delivery_ttl    = 120
  }
  assert {
    condition = alltrue([for f in [google_cloudfunctions2_function.claim, google_cloudfunctions2_function.deliver, google_cloudfunctions2_function.expire] :
    f.service_config[0].environment_variables.ROLLOUT_MODE == "observe" && f.service_config[0].environment_variables.REQUEST_MAX_AGE == "600s" && f.service_config[0].environment_variables.DELIVERY_TTL == "120s"])
    error_message = "All functions are in the same mode, with the same settings."
  }
}

run "watched_and_budgeted" {
  variables {
    notification_emails = ["ops@example.com"]
    budget              = { billing_account = "012345-6789AB-CDEF01", amount = 50 }
  }
  assert {
    condition     = length(google_billing_budget.this[0].threshold_rules) == 3 && google_billing_budget.this[0].amount[0].specified_amount[0].units == "50"
    error_message = "The budget warns at three thresholds."
  }
  assert {
    condition     = alltrue([for policy in merge(google_monitoring_alert_policy.this, google_monitoring_alert_policy.burn) : length(policy.notification_channels) == 1])
    error_message = "Every alert reaches somebody."
  }
}

run "no_budget_unless_wanted" {
  assert {
    condition     = length(google_billing_budget.this) == 0 && !contains(keys(google_project_service.this), "billingbudgets")
    error_message = "A budget needs rights on the billing account, so it is made only on demand."
  }
}
