# The gateway: what is open to everybody, and what is not.

mock_provider "google" {
  source = "./tests/mocks"

  mock_resource "google_cloudfunctions2_function" {
    defaults = { service_config = { uri = "https://relay-gateway-abcdefghij-uc.a.run.app" } }
  }
}

variables {
  project_id = "demo-project"
  region     = "us-central1"
  source_zip = "tests/upload.zip"
  gateway    = { upstream = "wss://relay.example.com", hosts = ["keys.example.com"] }
}

run "gateway_before_a_relay" {
  assert {
    condition     = google_cloudfunctions2_function.gateway[0].build_config[0].entry_point == "RelayGateway" && google_cloudfunctions2_function.gateway[0].build_config[0].runtime == "go126"
    error_message = "The gateway is one of the entry points that the code registers."
  }
  assert {
    condition     = google_cloudfunctions2_function.gateway[0].service_config[0].ingress_settings == "ALLOW_ALL" && google_cloud_run_v2_service_iam_member.gateway_invoker[0].member == "allUsers"
    error_message = "Clients come from everywhere."
  }
  assert {
    condition     = alltrue([for f in [google_cloudfunctions2_function.claim, google_cloudfunctions2_function.deliver, google_cloudfunctions2_function.expire] : f.service_config[0].ingress_settings == "ALLOW_INTERNAL_ONLY"])
    error_message = "The other functions stay internal."
  }
  assert {
    condition     = google_cloud_run_v2_service_iam_member.gateway_invoker[0].name == "relay-gateway" && alltrue([for grant in [google_cloud_run_v2_service_iam_member.claim_invoker, google_cloud_run_v2_service_iam_member.deliver_invoker, google_cloud_run_v2_service_iam_member.expire_invoker] : startswith(grant.member, "serviceAccount:")])
    error_message = "Only the gateway is open to everybody."
  }
  assert {
    condition     = google_cloudfunctions2_function.gateway[0].service_config[0].timeout_seconds == 3600 && google_cloudfunctions2_function.gateway[0].service_config[0].max_instance_request_concurrency == 500 && google_cloudfunctions2_function.gateway[0].service_config[0].min_instance_count == 1
    error_message = "A websocket may live for an hour, and one instance is warm: clients give up after two seconds."
  }
  assert {
    condition     = google_cloudfunctions2_function.gateway[0].service_config[0].environment_variables.UPSTREAM_RELAY_URL == "wss://relay.example.com" && google_cloudfunctions2_function.gateway[0].service_config[0].environment_variables.RELAY_HOSTS == "keys.example.com,relay-gateway-123456789012.us-central1.run.app"
    error_message = "The gateway knows its upstream, and the names under which it is reached."
  }
  assert {
    condition     = google_cloudfunctions2_function.gateway[0].service_config[0].environment_variables.DELIVERY_CALLER == google_service_account.deliver.email && google_cloudfunctions2_function.gateway[0].service_config[0].environment_variables.UPSTREAM_SHARES_LOGIN == "off" && google_cloudfunctions2_function.gateway[0].service_config[0].environment_variables.REQ_CLAIMS == "on"
    error_message = "Its endpoint takes the delivery function's token and nobody else's."
  }
  assert {
    condition     = !contains(keys(google_cloudfunctions2_function.gateway[0].service_config[0].environment_variables), "RELAY_DELIVERY_URL") && google_cloudfunctions2_function.deliver.service_config[0].environment_variables.RELAY_DELIVERY_URL == "${google_cloudfunctions2_function.gateway[0].service_config[0].uri}/internal/v1/deliveries"
    error_message = "The functions deliver to the gateway."
  }
  assert {
    condition     = alltrue([for f in [google_cloudfunctions2_function.gateway[0], google_cloudfunctions2_function.deliver] : f.service_config[0].environment_variables.RELAY_AUDIENCE == "keypackage-gateway.demo-project"]) && output.relay_audience == "keypackage-gateway.demo-project"
    error_message = "Both sides mean the same audience."
  }
  assert {
    condition     = google_project_iam_member.gateway_firestore[0].role == "roles/datastore.user" && google_project_iam_member.gateway_firestore[0].condition[0].expression == "resource.name == \"projects/demo-project/databases/(default)\"" && length(google_pubsub_topic_iam_member.gateway_publisher) == 0
    error_message = "The gateway may use this database, and nothing else: it serves requests itself and needs no messages."
  }
  assert {
    condition     = google_service_account.gateway[0].account_id == "keypackage-gateway" && length(google_cloudfunctions2_function.gateway[0].service_config[0].direct_vpc_network_interface) == 0
    error_message = "The gateway has an identity of its own, and no network unless one is named."
  }
  assert {
    condition     = output.gateway == "wss://relay-gateway-123456789012.us-central1.run.app"
    error_message = "Clients are told where the gateway is."
  }
}

run "gateway_is_watched" {
  assert {
    condition     = alltrue([for alert in ["gateway-full", "gateway-refuses-logins", "gateway-upstream", "gateway-failing"] : contains(keys(google_monitoring_alert_policy.this), alert)])
    error_message = "Sessions, logins, the upstream and panics are watched."
  }
  assert {
    condition     = strcontains(google_monitoring_alert_policy.this["gateway-full"].conditions[0].condition_prometheus_query_language[0].query, "> 4000")
    error_message = "Eight tenths of ten instances with 500 sessions are 4,000."
  }
  assert {
    condition     = google_monitoring_uptime_check_config.gateway[0].http_check[0].headers.Accept == "application/nostr+json" && google_monitoring_uptime_check_config.gateway[0].monitored_resource[0].labels.host == "relay-gateway-123456789012.us-central1.run.app"
    error_message = "An absent gateway is found by asking it."
  }
}

run "gateway_as_any_other_relay" {
  variables {
    gateway = { requests_served_by = "functions", max_instances = 1, shares_login = true, req_claims = false, sessions = 1000 }
    vpc     = { network = "default", subnetwork = "default" }
  }
  assert {
    condition     = google_pubsub_topic_iam_member.gateway_publisher[0].role == "roles/pubsub.publisher" && google_pubsub_topic_iam_member.gateway_publisher[0].topic == google_pubsub_topic.deliveries.id
    error_message = "A gateway that leaves requests to the functions publishes nudges."
  }
  assert {
    condition     = google_cloudfunctions2_function.gateway[0].service_config[0].environment_variables.REQUESTS_SERVED_BY == "functions" && google_cloudfunctions2_function.gateway[0].service_config[0].environment_variables.UPSTREAM_SHARES_LOGIN == "on" && google_cloudfunctions2_function.gateway[0].service_config[0].environment_variables.REQ_CLAIMS == "off" && google_cloudfunctions2_function.gateway[0].service_config[0].environment_variables.UPSTREAM_RELAY_URL == ""
    error_message = "What is said is what the gateway is told."
  }
  assert {
    condition     = google_cloudfunctions2_function.gateway[0].service_config[0].direct_vpc_egress == "VPC_EGRESS_PRIVATE_RANGES_ONLY" && length(google_cloudfunctions2_function.gateway[0].service_config[0].direct_vpc_network_interface) == 1
    error_message = "The gateway reaches its upstream through the network."
  }
}
