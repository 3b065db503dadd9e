# Where

variable "project_id" {
  description = "Project that holds everything. It must exist and have billing enabled."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id must be a project id (6 to 30 lower-case letters, digits and hyphens), not its number or name."
  }
}

variable "region" {
  description = "Region of the functions, for example us-central1. Use the one nearest to the database: us-central1 for nam5, europe-west4 for eur3."
  type        = string
  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must be a single region such as us-central1; functions cannot be placed in a multi-region such as nam5."
  }
}

# Firestore

variable "create_database" {
  description = "Whether to create the database. Say false if the relay's database exists already; its rules are then left alone, and rollout_mode must be set."
  type        = bool
  default     = true
}

variable "database" {
  description = "Id of the Firestore database."
  type        = string
  default     = "(default)"
  validation {
    condition     = can(regex("^(\\(default\\)|[a-z][a-z0-9-]{2,61}[a-z0-9])$", var.database)) && var.database != "default"
    error_message = "database must be (default), with its brackets, or 4 to 63 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "database_location" {
  description = "Location of the database, a region or nam5, nam7 or eur3; the region of the functions if null. An existing database shows it under `gcloud firestore databases describe`."
  type        = string
  default     = null
  validation {
    condition     = can(regex("^(nam5|nam7|eur3|[a-z]+-[a-z]+[0-9]+)$", coalesce(var.database_location, var.region)))
    error_message = "database_location must be a region such as us-central1, or one of the multi-regions nam5, nam7 and eur3."
  }
  validation {
    condition     = startswith(var.region, lookup({ nam5 = "us-", nam7 = "us-", eur3 = "europe-" }, coalesce(var.database_location, "-"), ""))
    error_message = "region must lie inside the database's multi-region: in us- for nam5 and nam7, in europe- for eur3."
  }
}

variable "collections" {
  description = "Names of Firestore collections that differ from the defaults, for example { requests = \"events\" }. The relay writes keypackages, requests and tombstones."
  type        = map(string) # an object type would drop a misspelt key without a word
  default     = {}
  validation {
    condition     = length(setsubtract(keys(var.collections), keys(local.default_collections))) == 0
    error_message = "collections may name keypackages, requests, tombstones, deliveries, claims, ledger, pairs and owners, and nothing else."
  }
  validation {
    condition     = length(distinct(values(merge(local.default_collections, var.collections)))) == length(merge(local.default_collections, var.collections))
    error_message = "collections must have different names."
  }
  validation {
    condition     = alltrue([for name in values(var.collections) : can(regex("^[^/]+$", name)) && !can(regex("^(\\.\\.?|__.*__)$", name)) && length(base64encode(name)) / 4 * 3 <= 1500])
    error_message = "collections must be names of at most 1500 bytes without a slash, and none of . and .. and __anything__, which Firestore reserves."
  }
}

locals {
  default_collections = {
    keypackages = "mls_keypackages"
    requests    = "mls_keypackage_requests"
    tombstones  = "mls_keypackage_tombstones"
    deliveries  = "mls_pending_deliveries"
    claims      = "mls_keypackage_claims"
    ledger      = "mls_keypackage_ledger"
    pairs       = "mls_keypackage_pairs"
    owners      = "mls_keypackage_owners"
  }
  collections = merge(local.default_collections, var.collections)
}

# Behaviour; defaults, floors and ceilings are those of the functions themselves

variable "rollout_mode" {
  description = "What the functions do: off (nothing), observe (record what would be claimed) or deliver (everything). Set it if the database exists already: its relay may still hand out KeyPackages itself. For a new database the default is deliver."
  type        = string
  default     = null
  validation {
    condition     = contains(["off", "observe", "deliver"], coalesce(var.rollout_mode, "deliver"))
    error_message = "rollout_mode must be off, observe or deliver."
  }
  validation {
    condition     = var.create_database || var.rollout_mode != null
    error_message = "Set rollout_mode if create_database is false: begin with off, then observe, and deliver once the relay's own consumption is switched off. See Roll-out in terraform/README.md."
  }
}

variable "keypackage_policy" {
  description = "strict hands out only KeyPackages that verify; warn also those that cannot be checked, never those that are wrong."
  type        = string
  default     = "strict"
  validation {
    condition     = contains(["strict", "warn"], var.keypackage_policy)
    error_message = "keypackage_policy must be strict or warn."
  }
}

variable "request_max_age" {
  description = "Age in seconds after which a request counts as stale when it is taken up."
  type        = number
  default     = 900
  validation {
    condition     = var.request_max_age >= 60 && var.request_max_age <= 86400 && floor(var.request_max_age) == var.request_max_age
    error_message = "request_max_age must be a whole number of seconds from 60 to 86400, after which Eventarc gives up."
  }
}

variable "delivery_ttl" {
  description = "Life of a pending delivery in seconds."
  type        = number
  default     = 300
  validation {
    condition     = var.delivery_ttl >= 30 && var.delivery_ttl <= 3600 && floor(var.delivery_ttl) == var.delivery_ttl
    error_message = "delivery_ttl must be a whole number of seconds from 30 to 3600: for that long a KeyPackage is out of stock."
  }
}

variable "max_per_owner" {
  description = "Most KeyPackages of one owner that one request gets."
  type        = number
  default     = 10
  validation {
    condition     = contains(range(1, 11), var.max_per_owner)
    error_message = "max_per_owner must be a whole number from 1 to 10."
  }
}

variable "pair_limit_per_hour" {
  description = "Requests of one requester for one owner within an hour."
  type        = number
  default     = 10
  validation {
    condition     = var.pair_limit_per_hour >= 1 && var.pair_limit_per_hour <= 10000 && floor(var.pair_limit_per_hour) == var.pair_limit_per_hour
    error_message = "pair_limit_per_hour must be a whole number from 1 to 10000."
  }
}

variable "owner_budget_per_hour" {
  description = "One-time KeyPackages of one owner that are handed out within an hour; beyond it only the reserve is."
  type        = number
  default     = 100
  validation {
    condition     = var.owner_budget_per_hour >= 1 && var.owner_budget_per_hour <= 100000 && floor(var.owner_budget_per_hour) == var.owner_budget_per_hour
    error_message = "owner_budget_per_hour must be a whole number from 1 to 100000."
  }
}

# Deployment

variable "source_zip" {
  description = "The upload, made by `go run ./terraform/upload`. Relative paths start in the directory in which terraform runs; null is upload.zip beside these files."
  type        = string
  default     = null
  validation {
    condition     = fileexists(coalesce(var.source_zip, "${path.module}/upload.zip"))
    error_message = "source_zip does not exist. Make it in the repository's root: go run ./terraform/upload"
  }
  validation {
    condition     = try(startswith(filebase64(coalesce(var.source_zip, "${path.module}/upload.zip")), "UEsDB"), true)
    error_message = "source_zip must be a zip that is not empty, as go run ./terraform/upload makes it: what it holds begins with PK."
  }
}

variable "min_instances" {
  description = "Instances of the claim and the delivery function that are kept warm. With 0 the first request after a pause waits for two cold starts, and the service level for latency cannot be held."
  type        = number
  default     = 1
  validation {
    condition     = contains(range(0, 101), var.min_instances)
    error_message = "min_instances must be a whole number from 0 to 100."
  }
}

variable "max_instances" {
  description = "Most instances of the claim and of the delivery function; each works on up to 80 events at once."
  type        = number
  default     = 20
  validation {
    condition     = contains(range(1, 1001), var.max_instances) && var.max_instances >= var.min_instances
    error_message = "max_instances must be a whole number from 1 to 1000, and not below min_instances."
  }
}

variable "labels" {
  description = "Labels of everything that can have some, for whoever looks at the bill."
  type        = map(string)
  default     = { app = "keypackage-delivery" }
  validation {
    condition     = alltrue([for key, value in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value))])
    error_message = "labels must be lower-case letters, digits, hyphens and underscores, at most 63, and a key begins with a letter."
  }
}

# Operation

variable "notification_emails" {
  description = "Who is told of alerts. Without any address alerts are only shown in the console."
  type        = set(string)
  default     = []
  validation {
    condition     = alltrue([for address in var.notification_emails : can(regex("^[^@\\s]+@[^@\\s]+$", address))])
    error_message = "notification_emails must be e-mail addresses."
  }
}

variable "playbook_url" {
  description = "Where the playbook is read; alerts link to its sections."
  type        = string
  default     = "https://github.com/keypackage-delivery/keypackage-delivery/blob/main/terraform/PLAYBOOK.md"
  validation {
    condition     = can(regex("^https://[^#\\s]+$", var.playbook_url))
    error_message = "playbook_url must be an https URL without a fragment."
  }
}

variable "budget" {
  description = "Monthly budget of the project, in whole units of the billing account's currency; mails at 50, 90 and 100 percent. Null for none."
  type = object({
    billing_account = string
    amount          = number
  })
  default = null
  validation {
    condition     = var.budget == null || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.budget.billing_account))
    error_message = "budget.billing_account must look like 012345-6789AB-CDEF01."
  }
  validation {
    condition     = var.budget == null || try(var.budget.amount >= 1 && floor(var.budget.amount) == var.budget.amount, false)
    error_message = "budget.amount must be a whole number of at least 1."
  }
}
