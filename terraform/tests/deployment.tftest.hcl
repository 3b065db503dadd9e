# What a deployment consists of, planned and applied against a provider that only pretends. Attributes are checked by the
# real provider's schema and validators; run with: terraform -chdir=terraform init -backend=false && terraform -chdir=terraform test

mock_provider "google" {
  source = "./tests/mocks"
}

variables {
  project_id         = "demo-project"
  region             = "us-central1"
  relay_delivery_url = "https://relay.example.com/internal/v1/deliveries"
  source_zip         = "tests/upload.zip"
}

run "events_are_not_lost" {
  assert {
    condition     = google_cloudfunctions2_function.claim.event_trigger[0].retry_policy == "RETRY_POLICY_RETRY"
    error_message = "The trigger must retry: otherwise a failed event is dropped."
  }
  assert {
    condition     = google_cloudfunctions2_function.claim.event_trigger[0].event_type == "google.cloud.firestore.document.v1.created"
    error_message = "The trigger must listen for created documents."
  }
  assert {
    condition = toset([for filter in google_cloudfunctions2_function.claim.event_trigger[0].event_filters : "${filter.attribute} ${filter.operator == null ? "" : filter.operator} ${filter.value}"]) == toset([
      "database  (default)", "document match-path-pattern mls_keypackage_requests/{request}",
    ])
    error_message = "The trigger must filter by database and document, without a leading slash, and by nothing else."
  }
  assert {
    condition     = google_pubsub_subscription.deliver.retry_policy[0].minimum_backoff == "1s" && google_pubsub_subscription.deliver.retry_policy[0].maximum_backoff == "30s"
    error_message = "Messages must be tried again soon; backoff may lie between 0 and 600 s."
  }
  assert {
    condition     = alltrue([for s in [google_pubsub_subscription.deliver, google_pubsub_subscription.dead_letters] : s.expiration_policy[0].ttl == ""])
    error_message = "Subscriptions must never expire: the default removes them after 31 idle days."
  }
  assert {
    condition     = contains(range(5, 101), google_pubsub_subscription.deliver.dead_letter_policy[0].max_delivery_attempts)
    error_message = "Pub/Sub takes 5 to 100 delivery attempts."
  }
  assert {
    condition     = contains(range(10, 601), google_pubsub_subscription.deliver.ack_deadline_seconds) && google_pubsub_subscription.deliver.ack_deadline_seconds > google_cloudfunctions2_function.deliver.service_config[0].timeout_seconds
    error_message = "The acknowledgement deadline lies between 10 and 600 s, and behind the function's timeout: otherwise messages come twice."
  }
  assert {
    condition     = coalesce(google_pubsub_subscription.deliver.enable_exactly_once_delivery, false) == false
    error_message = "Exactly-once delivery is for pull subscriptions; Pub/Sub refuses it here."
  }
  assert {
    condition     = alltrue([for s in [google_pubsub_subscription.deliver, google_pubsub_subscription.dead_letters] : tonumber(trimsuffix(s.message_retention_duration, "s")) >= 600 && tonumber(trimsuffix(s.message_retention_duration, "s")) <= 2678400])
    error_message = "Pub/Sub keeps messages for 10 minutes to 31 days."
  }
}

run "dead_letters_can_be_moved" {
  assert {
    condition     = google_pubsub_topic_iam_member.dead_letters_publisher.role == "roles/pubsub.publisher" && google_pubsub_topic_iam_member.dead_letters_publisher.topic == google_pubsub_topic.dead_letters.id
    error_message = "Pub/Sub must be allowed to publish to the dead-letter topic."
  }
  assert {
    condition     = google_pubsub_subscription_iam_member.dead_letters_subscriber.role == "roles/pubsub.subscriber" && google_pubsub_subscription_iam_member.dead_letters_subscriber.subscription == google_pubsub_subscription.deliver.id
    error_message = "Pub/Sub must be allowed to acknowledge on the subscription that the dead letters come from."
  }
  assert {
    condition     = alltrue([for grant in [google_pubsub_topic_iam_member.dead_letters_publisher, google_pubsub_subscription_iam_member.dead_letters_subscriber] : grant.member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"])
    error_message = "Both grants belong to Pub/Sub's service agent of this project."
  }
  assert {
    condition     = google_pubsub_subscription.dead_letters.topic == google_pubsub_topic.dead_letters.id
    error_message = "Dead letters without a subscription are lost."
  }
}

run "every_entry_point_is_deployed" {
  assert {
    condition     = [for f in [google_cloudfunctions2_function.claim, google_cloudfunctions2_function.deliver, google_cloudfunctions2_function.expire] : f.build_config[0].entry_point] == ["ClaimKeyPackages", "DeliverKeyPackages", "ExpireDeliveries"]
    error_message = "The entry points must be those that the code registers."
  }
  assert {
    condition     = alltrue([for f in [google_cloudfunctions2_function.claim, google_cloudfunctions2_function.deliver, google_cloudfunctions2_function.expire] : f.build_config[0].runtime == "go126"])
    error_message = "The modules need Go 1.26."
  }
  assert {
    condition     = alltrue([for f in [google_cloudfunctions2_function.claim, google_cloudfunctions2_function.deliver, google_cloudfunctions2_function.expire] : can(regex("^[a-z][a-z0-9-]{0,61}[a-z0-9]$", f.name))])
    error_message = "Function names are lower-case letters, digits and hyphens: the Cloud Run service has the same name."
  }
  assert {
    condition     = alltrue([for f in [google_cloudfunctions2_function.claim, google_cloudfunctions2_function.deliver, google_cloudfunctions2_function.expire] : f.build_config[0].source[0].storage_source[0].object == "${filesha256("tests/upload.zip")}.zip"])
    error_message = "The object's name must hold the upload's hash: otherwise new code is not deployed."
  }
}

run "nobody_outside_can_call" {
  assert {
    condition     = alltrue([for f in [google_cloudfunctions2_function.claim, google_cloudfunctions2_function.deliver, google_cloudfunctions2_function.expire] : f.service_config[0].ingress_settings == "ALLOW_INTERNAL_ONLY"])
    error_message = "Functions admit internal traffic only."
  }
  assert {
    condition     = alltrue([for grant in [google_cloud_run_v2_service_iam_member.claim_invoker, google_cloud_run_v2_service_iam_member.deliver_invoker, google_cloud_run_v2_service_iam_member.expire_invoker] : startswith(grant.member, "serviceAccount:") && grant.role == "roles/run.invoker"])
    error_message = "Each function has one invoker, a service account; never allUsers or allAuthenticatedUsers."
  }
  assert {
    condition     = google_storage_bucket.source.public_access_prevention == "enforced"
    error_message = "The source is not public."
  }
}

run "grants_are_least" {
  assert {
    condition = toset([for grant in [
      google_project_iam_member.build_logs, google_project_iam_member.build_source,
      google_project_iam_member.claim_firestore, google_project_iam_member.claim_trigger_receiver,
      google_project_iam_member.deliver_firestore, google_project_iam_member.expire_firestore,
    ] : grant.role]) == toset(["roles/logging.logWriter", "roles/storage.objectViewer", "roles/datastore.user", "roles/eventarc.eventReceiver"])
    error_message = "Roles on the project are these four; none is primitive."
  }
  assert {
    condition     = alltrue([for grant in [google_project_iam_member.claim_firestore, google_project_iam_member.deliver_firestore, google_project_iam_member.expire_firestore] : grant.condition[0].expression == "resource.name == \"projects/demo-project/databases/(default)\""])
    error_message = "The functions may touch this database and no other."
  }
  assert {
    condition     = google_project_iam_member.build_source.condition[0].expression == "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-123456789012-us-central1\")"
    error_message = "Builds may read the sources of functions and no other bucket."
  }
  assert {
    condition     = google_service_account_iam_member.push_token.role == "roles/iam.serviceAccountTokenCreator" && google_service_account_iam_member.push_token.member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
    error_message = "Pub/Sub may make the token of its pushes, also in a project of before April 2021."
  }
  assert {
    condition     = length(google_cloudfunctions2_function.gateway) + length(google_service_account.gateway) + length(google_cloud_run_v2_service_iam_member.gateway_invoker) + length(google_monitoring_uptime_check_config.gateway) + length(google_monitoring_alert_policy.gateway_absent) == 0
    error_message = "There is no gateway, and nothing is open to everybody, unless one is wanted."
  }
  assert {
    condition     = length(google_pubsub_topic_iam_member.relay_publisher) + length(google_project_iam_member.relay_firestore) + length(google_cloud_run_v2_service_iam_member.relay_invoker) == 0
    error_message = "Nobody is granted anything for a relay that was not named."
  }
  assert {
    condition     = length(distinct([google_service_account.build.account_id, google_service_account.claim.account_id, google_service_account.claim_trigger.account_id, google_service_account.deliver.account_id, google_service_account.deliver_push.account_id, google_service_account.expire.account_id, google_service_account.expire_scheduler.account_id])) == 7
    error_message = "Each function, each of their callers, and the build have an identity of their own."
  }
}

run "concurrency_has_a_whole_cpu" {
  assert {
    condition     = alltrue([for f in [google_cloudfunctions2_function.claim, google_cloudfunctions2_function.deliver, google_cloudfunctions2_function.expire] : tonumber(f.service_config[0].available_cpu) >= 1 && f.service_config[0].max_instance_request_concurrency > 1])
    error_message = "A concurrency above 1 needs at least one CPU."
  }
  assert {
    condition     = alltrue([for f in [google_cloudfunctions2_function.claim, google_cloudfunctions2_function.deliver, google_cloudfunctions2_function.expire] : can(regex("^[0-9]+(Mi|Gi)$", f.service_config[0].available_memory))])
    error_message = "Memory is written like 512Mi."
  }
}

run "the_schedule_runs_every_minute" {
  assert {
    condition     = google_cloud_scheduler_job.expire.schedule == "* * * * *"
    error_message = "Every minute is what the promises are made for."
  }
  assert {
    condition     = tonumber(trimsuffix(google_cloud_scheduler_job.expire.attempt_deadline, "s")) >= google_cloudfunctions2_function.expire.service_config[0].timeout_seconds
    error_message = "The scheduler must wait for as long as the function may run (15 to 1800 s)."
  }
}

run "documents_end" {
  assert {
    condition     = toset([for field in google_firestore_field.this : field.collection if length(field.ttl_config) > 0]) == toset(["mls_keypackage_requests", "mls_keypackage_tombstones", "mls_pending_deliveries", "mls_keypackage_claims", "mls_keypackage_ledger", "mls_keypackage_pairs", "mls_keypackage_owners"])
    error_message = "Every collection but the stock has a TTL policy."
  }
  assert {
    condition     = alltrue([for field in google_firestore_field.this : length(field.index_config) == 1])
    error_message = "A field with a TTL policy rises, so it must not be indexed."
  }
  assert {
    condition     = length(google_firestore_index.this) == length(jsondecode(file("../shared/store/indexes.json")).indexes)
    error_message = "One index for each one declared beside the queries."
  }
}

run "everything_is_watched" {
  assert {
    condition     = alltrue([for policy in merge(google_monitoring_alert_policy.this, google_monitoring_alert_policy.burn) : strcontains(policy.documentation[0].content, "/PLAYBOOK.md#")])
    error_message = "Every alert links to its section of the playbook."
  }
  assert {
    condition     = length(google_monitoring_alert_policy.burn) == 8
    error_message = "Each of the four service levels has a fast and a slow burn alert."
  }
  assert {
    condition     = alltrue([for policy in google_monitoring_alert_policy.burn : strcontains(policy.conditions[0].condition_prometheus_query_language[0].query, ">= 50)")])
    error_message = "A service level of a handful of requests wakes nobody."
  }
  assert {
    condition     = alltrue([for slo in [google_monitoring_slo.fast, google_monitoring_slo.answered] : slo.goal > 0 && slo.goal < 1])
    error_message = "A goal is a share."
  }
  assert {
    condition     = length(jsondecode(google_monitoring_dashboard.this.dashboard_json).mosaicLayout.tiles) >= 12
    error_message = "The dashboard shows the service levels and what is behind them."
  }
}
