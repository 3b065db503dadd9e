locals {
  database_location = coalesce(var.database_location, var.region)
  database_name     = "projects/${var.project_id}/databases/${var.database}"

  # The list belongs to the queries, and a test holds it against them. It uses the collections' default names.
  declared = jsondecode(file("${path.module}/../shared/store/indexes.json"))
  collection_names = {
    mls_keypackages           = local.collections.keypackages
    mls_keypackage_requests   = local.collections.requests
    mls_keypackage_tombstones = local.collections.tombstones
    mls_pending_deliveries    = local.collections.deliveries
    mls_keypackage_claims     = local.collections.claims
    mls_keypackage_ledger     = local.collections.ledger
    mls_keypackage_pairs      = local.collections.pairs
    mls_keypackage_owners     = local.collections.owners
  }
}

resource "google_firestore_database" "this" {
  count       = var.create_database ? 1 : 0
  name        = var.database
  location_id = local.database_location
  type        = "FIRESTORE_NATIVE"

  # Stated because the transactions are built for it: what they read inside is locked, so that it holds at the commit.
  concurrency_mode = "PESSIMISTIC"

  # For the minute before a mistake. After a restore used packages are back in it: see Backup and restore in README.md.
  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"

  # The ledger is what makes "used once" true, so `terraform destroy` leaves the database behind.
  delete_protection_state = "DELETE_PROTECTION_ENABLED"
  deletion_policy         = "ABANDON"

  depends_on = [google_project_service.this]
}

resource "google_firestore_index" "this" {
  for_each = {
    for index in local.declared.indexes :
    join(" ", concat([index.collectionGroup], [for field in index.fields : "${field.fieldPath} ${field.order}"])) => index
  }
  database    = var.database
  collection  = local.collection_names[each.value.collectionGroup]
  query_scope = each.value.queryScope

  dynamic "fields" {
    for_each = each.value.fields # __name__ follows in the direction of the last field, which is what the queries order by
    content {
      field_path = fields.value.fieldPath
      order      = fields.value.order
    }
  }

  depends_on = [google_firestore_database.this, google_project_service.this]
}

# Fields that no query asks for by themselves have no index of their own: large ones because they cost storage, rising
# ones because such an index limits its collection to about 500 writes a second. keep_until removes what nobody needs.
resource "google_firestore_field" "this" {
  for_each   = { for field in local.declared.fieldOverrides : "${field.collectionGroup} ${field.fieldPath}" => field }
  database   = var.database
  collection = local.collection_names[each.value.collectionGroup]
  field      = each.value.fieldPath

  index_config {}

  dynamic "ttl_config" {
    for_each = try(each.value.ttl, false) ? [true] : []
    content {}
  }

  depends_on = [google_firestore_database.this, google_project_service.this]
}

# Only servers read this database. They are not bound by rules; everybody else gets nothing.
resource "google_firebaserules_ruleset" "deny_all" {
  count = var.create_database ? 1 : 0
  source {
    files {
      name    = "firestore.rules"
      content = <<-RULES
        rules_version = '2';
        service cloud.firestore {
          match /databases/{database}/documents {
            match /{document=**} {
              allow read, write: if false;
            }
          }
        }
      RULES
    }
  }
  depends_on = [google_firestore_database.this]
}

resource "google_firebaserules_release" "firestore" {
  count        = var.create_database ? 1 : 0
  name         = var.database == "(default)" ? "cloud.firestore" : "cloud.firestore/${var.database}"
  ruleset_name = google_firebaserules_ruleset.deny_all[0].name
}
