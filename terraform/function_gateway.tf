# RelayGateway: the relay side, for clients' websockets. Only made if the variable `gateway` is given. Open to everybody, as
# a relay is; it asks for a token itself where only DeliverKeyPackages may call.

locals {
  # Cloud Run's address that is known before the service is there. The one that it tells afterwards leads to it as well.
  gateway_address = "relay-gateway-${data.google_project.this.number}.${var.region}.run.app"

  gateway_environment = {
    UPSTREAM_RELAY_URL    = local.gateway.upstream
    UPSTREAM_SHARES_LOGIN = local.gateway.shares_login ? "on" : "off"
    RELAY_HOSTS           = join(",", concat(local.gateway.hosts, [local.gateway_address]))
    DELIVERY_CALLER       = google_service_account.deliver.email
    TRUSTED_PROXY_HOPS    = tostring(local.gateway.trusted_proxy_hops)
    REQUESTS_SERVED_BY    = local.gateway.requests_served_by
    REQ_CLAIMS            = local.gateway.req_claims ? "on" : "off"
    MAX_STOCK             = tostring(local.gateway.max_stock)
  }
}

resource "google_cloudfunctions2_function" "gateway" {
  count       = var.gateway == null ? 0 : 1
  name        = "relay-gateway"
  location    = var.region
  description = "The relay side: sessions, publishing, requests, and the endpoint that delivers into sessions"

  build_config {
    runtime           = local.runtime
    entry_point       = "RelayGateway"
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
    service_account_email            = google_service_account.gateway[0].email
    environment_variables            = merge(local.environment, local.gateway_environment)
    ingress_settings                 = "ALLOW_ALL"
    available_cpu                    = "1"
    available_memory                 = "1Gi"
    timeout_seconds                  = 3600 # of a websocket; there is no longer one
    max_instance_request_concurrency = local.gateway.sessions
    min_instance_count               = local.gateway.min_instances
    max_instance_count               = local.gateway.max_instances
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
    google_project_iam_member.gateway_firestore,
    google_pubsub_topic_iam_member.gateway_publisher,
  ]
}

# The function itself: documents; and nudges, if the functions serve the requests.

resource "google_service_account" "gateway" {
  count        = var.gateway == null ? 0 : 1
  account_id   = "keypackage-gateway"
  display_name = "RelayGateway"
  depends_on   = [google_project_service.this]
}

resource "google_project_iam_member" "gateway_firestore" {
  count   = var.gateway == null ? 0 : 1
  project = var.project_id
  role    = local.firestore_role
  member  = google_service_account.gateway[0].member
  condition {
    title      = local.only_this_database.title
    expression = local.only_this_database.expression
  }
}

resource "google_pubsub_topic_iam_member" "gateway_publisher" {
  count  = var.gateway != null && local.gateway.requests_served_by == "functions" ? 1 : 0
  topic  = google_pubsub_topic.deliveries.id
  role   = "roles/pubsub.publisher"
  member = google_service_account.gateway[0].member
}

# Its callers: everybody.

resource "google_cloud_run_v2_service_iam_member" "gateway_invoker" {
  count    = var.gateway == null ? 0 : 1
  name     = google_cloudfunctions2_function.gateway[0].name
  location = google_cloudfunctions2_function.gateway[0].location
  role     = "roles/run.invoker"
  member   = "allUsers"
}

# What is watched of it. The sums are of the lines that metrics.tf calls gateway_line:
#
#   line    "gateway", written once a minute by each instance that has an open session, and once more when it ends
#   counts  sessions (open now); and since the line before: logins, logins_refused, upstream_dialled, upstream_failed,
#           publish_refused, rate_limited, too_slow
#
# A request that it serves, a 447 or a REQ, has a line of its own: "line": "request", and what ClaimKeyPackages and
# DeliverKeyPackages say on theirs (request_event_id, counts.owners, ..., counts.pushes, ...). A panic or another thing that
# somebody has to look at stands under alerts, as everywhere.

locals {
  gateway_alerts = var.gateway == null ? {} : {
    gateway-full = {
      title    = "The gateway has hardly any room for more sessions"
      severity = "ERROR"
      query    = "${replace(local.sum.gateway_sessions, "WINDOW", "10m")} / 10 > ${floor(0.8 * local.gateway.sessions * local.gateway.max_instances)}"
      duration = "0s"
    }
    gateway-refuses-logins = {
      title    = "The gateway refuses every login"
      severity = "ERROR"
      # Strangers can be refused as often as they like, but they cannot keep others from being accepted.
      query    = "(${replace(local.sum.gateway_logins_refused, "WINDOW", "30m")} > 20) unless (${replace(local.sum.gateway_logins, "WINDOW", "30m")} > 0)"
      duration = "300s"
    }
    gateway-upstream = {
      title    = "The gateway does not reach the upstream relay"
      severity = "CRITICAL"
      query    = "(${replace(local.sum.gateway_upstream_failed, "WINDOW", "5m")} / ${replace(local.sum.gateway_upstream_dialled, "WINDOW", "5m")} > 0.5) and (${replace(local.sum.gateway_upstream_failed, "WINDOW", "5m")} >= 5)"
      duration = "120s"
    }
    gateway-failing = {
      title    = "The gateway met something that somebody has to look at"
      severity = "ERROR"
      query    = "sum(increase(${local.promql.alerts}{monitored_resource=\"cloud_run_revision\",function=\"RelayGateway\"}[10m])) > 0"
      duration = "0s"
    }
  }
}

# An instance without an open request has no CPU and writes nothing, so that silence does not mean absence: it is asked.
resource "google_monitoring_uptime_check_config" "gateway" {
  count            = var.gateway == null ? 0 : 1
  display_name     = "KeyPackages: the gateway tells what it is (NIP-11)"
  timeout          = "10s"
  period           = "300s"
  selected_regions = ["USA", "EUROPE", "ASIA_PACIFIC"]

  http_check {
    path         = "/"
    port         = 443
    use_ssl      = true
    validate_ssl = true
    headers      = { Accept = "application/nostr+json" }
  }
  content_matchers {
    content = "keypackages" # our part of the document, which is there whatever the upstream says
    matcher = "CONTAINS_STRING"
  }
  monitored_resource {
    type   = "uptime_url"
    labels = { project_id = var.project_id, host = local.gateway_address }
  }
  depends_on = [google_cloud_run_v2_service_iam_member.gateway_invoker]
}

resource "google_monitoring_alert_policy" "gateway_absent" {
  count                 = var.gateway == null ? 0 : 1
  display_name          = "KeyPackages: The gateway does not answer"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = local.notification_channels

  conditions {
    display_name = "Two of three continents get no NIP-11 document"
    condition_threshold {
      filter          = "resource.type=\"uptime_url\" AND metric.type=\"monitoring.googleapis.com/uptime_check/check_passed\" AND metric.label.check_id=\"${google_monitoring_uptime_check_config.gateway[0].uptime_check_id}\""
      comparison      = "COMPARISON_GT"
      threshold_value = 1
      duration        = "300s"
      aggregations {
        alignment_period     = "600s"
        per_series_aligner   = "ALIGN_NEXT_OLDER"
        cross_series_reducer = "REDUCE_COUNT_FALSE"
        group_by_fields      = ["resource.label.host"]
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "The gateway does not answer. Playbook: ${var.playbook_url}#alert-gateway-absent"
  }
}
