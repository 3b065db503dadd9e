# Values that are refused before anything is planned. A Terraform test sees which variable was refused, not why; that each
# message names its bounds is checked by the Go tests of the deployment.

mock_provider "google" {}

variables {
  project_id         = "demo-project"
  region             = "us-central1"
  relay_delivery_url = "https://relay.example.com/internal/v1/deliveries"
  source_zip         = "tests/empty.zip"
}

run "refuses_project_number" {
  command = plan
  variables {
    project_id = "123456789012"
  }
  expect_failures = [var.project_id]
}

run "refuses_region_multi" {
  command = plan
  variables {
    region = "nam5"
  }
  expect_failures = [var.region]
}

run "refuses_database_name" {
  command = plan
  variables {
    database = "Keypackages"
  }
  expect_failures = [var.database]
}

run "refuses_database_location" {
  command = plan
  variables {
    database_location = "europe"
  }
  expect_failures = [var.database_location]
}

run "refuses_region_outside_multi" {
  command = plan
  variables {
    database_location = "eur3"
  }
  expect_failures = [var.database_location]
}

run "refuses_collections_equal" {
  command = plan
  variables {
    collections = { deliveries = "mls_keypackages" }
  }
  expect_failures = [var.collections]
}

run "refuses_collections_path" {
  command = plan
  variables {
    collections = { requests = "relay/events" }
  }
  expect_failures = [var.collections]
}

run "refuses_collections_reserved" {
  command = plan
  variables {
    collections = { claims = "__claims__" }
  }
  expect_failures = [var.collections]
}

run "refuses_relay_url_http" {
  command = plan
  variables {
    relay_delivery_url = "http://relay.example.com/internal/v1/deliveries"
  }
  expect_failures = [var.relay_delivery_url]
}

run "refuses_relay_url_password" {
  command = plan
  variables {
    relay_delivery_url = "https://me:secret@relay.example.com/"
  }
  expect_failures = [var.relay_delivery_url]
}

run "refuses_relay_audience_none" {
  command = plan
  variables {
    relay_audience = "none"
  }
  expect_failures = [var.relay_audience]
}

run "refuses_relay_service_account_prefix" {
  command = plan
  variables {
    relay_service_account = "serviceAccount:relay@demo-project.iam.gserviceaccount.com"
  }
  expect_failures = [var.relay_service_account]
}

run "refuses_rollout_mode" {
  command = plan
  variables {
    rollout_mode = "on"
  }
  expect_failures = [var.rollout_mode]
}

run "refuses_keypackage_policy" {
  command = plan
  variables {
    keypackage_policy = "lax"
  }
  expect_failures = [var.keypackage_policy]
}

run "refuses_request_max_age_short" {
  command = plan
  variables {
    request_max_age = 59
  }
  expect_failures = [var.request_max_age]
}

run "refuses_delivery_ttl_long" {
  command = plan
  variables {
    delivery_ttl = 3601
  }
  expect_failures = [var.delivery_ttl]
}

run "refuses_delivery_ttl_fraction" {
  command = plan
  variables {
    delivery_ttl = 30.5
  }
  expect_failures = [var.delivery_ttl]
}

run "refuses_max_per_owner" {
  command = plan
  variables {
    max_per_owner = 11
  }
  expect_failures = [var.max_per_owner]
}

run "refuses_pair_limit" {
  command = plan
  variables {
    pair_limit_per_hour = 0
  }
  expect_failures = [var.pair_limit_per_hour]
}

run "refuses_owner_budget" {
  command = plan
  variables {
    owner_budget_per_hour = 100001
  }
  expect_failures = [var.owner_budget_per_hour]
}

run "refuses_source_missing" {
  command = plan
  variables {
    source_zip = "tests/missing.zip"
  }
  expect_failures = [var.source_zip]
}

run "refuses_min_instances" {
  command = plan
  variables {
    min_instances = -1
  }
  expect_failures = [var.min_instances]
}

run "refuses_max_below_min" {
  command = plan
  variables {
    max_instances = 0
  }
  expect_failures = [var.max_instances]
}

run "refuses_notification_email" {
  command = plan
  variables {
    notification_emails = ["ops"]
  }
  expect_failures = [var.notification_emails]
}

run "refuses_playbook_fragment" {
  command = plan
  variables {
    playbook_url = "https://example.com/README.md#top"
  }
  expect_failures = [var.playbook_url]
}

run "refuses_budget_account" {
  command = plan
  variables {
    budget = { billing_account = "mine", amount = 10 }
  }
  expect_failures = [var.budget]
}

run "refuses_budget_amount" {
  command = plan
  variables {
    budget = { billing_account = "012345-6789AB-CDEF01", amount = 0.5 }
  }
  expect_failures = [var.budget]
}
