# The relay: either one of its own that has the delivery endpoint, or the gateway, before any relay or alone.

variable "relay_delivery_url" {
  description = "Full URL of the relay's delivery endpoint, for example https://relay.example.com/internal/v1/deliveries. Null with a gateway, which has the endpoint itself."
  type        = string
  default     = null
  validation {
    condition     = (var.relay_delivery_url == null) != (var.gateway == null)
    error_message = "Say exactly one of relay_delivery_url and gateway: who delivers, a relay of one's own or the gateway?"
  }
  validation {
    condition     = var.relay_delivery_url == null || can(regex("^https://(${local.dns_label}\\.)*${local.dns_label}(:[0-9]{1,5})?/(${local.url_character})+$", var.relay_delivery_url))
    error_message = "relay_delivery_url must be https://, a host name, and the endpoint's path, without user information, query and fragment: it is called with a token, and named in errors."
  }
  validation {
    condition     = try(alltrue([for port in regexall("^https://[^/]*:([0-9]+)/", var.relay_delivery_url) : tonumber(port[0]) >= 1 && tonumber(port[0]) <= 65535]), true)
    error_message = "relay_delivery_url must have a port from 1 to 65535, or none."
  }
}

variable "relay_audience" {
  description = "Audience of the ID token that the relay expects; the origin of relay_delivery_url if null."
  type        = string
  default     = null
  validation {
    condition     = var.relay_audience == null || can(regex("^[!-~]+$", coalesce(var.relay_audience, "-"))) && length(coalesce(var.relay_audience, "-")) <= 1024 && var.relay_audience != "none"
    error_message = "relay_audience must be at most 1024 characters of printable ASCII without spaces; none, which sends no token, is for the local suite only."
  }
}

variable "relay_service_account" {
  description = "E-mail of the service account under which the relay runs. It may then publish nudges, pull notices for owners and, in a database created here, read and write documents. Null if the relay gets its grants elsewhere."
  type        = string
  default     = null
  validation {
    condition     = var.relay_service_account == null || can(regex("^[^@\\s:]+@[^@\\s]+\\.gserviceaccount\\.com$", coalesce(var.relay_service_account, "-")))
    error_message = "relay_service_account must be the e-mail of a service account, without the prefix serviceAccount:."
  }
}

variable "relay_cloud_run_service" {
  description = "The relay's Cloud Run service, if it admits invokers only: { name, location, project if it is another }. The delivery function is then made one."
  type        = map(string) # an object type would drop a misspelt key without a word
  default     = null
  validation {
    condition     = var.relay_cloud_run_service == null || toset(setsubtract(keys(coalesce(var.relay_cloud_run_service, {})), ["project"])) == toset(["name", "location"])
    error_message = "relay_cloud_run_service must have name and location, may have project, and nothing else."
  }
}

variable "vpc" {
  description = "Network through which the delivery function reaches a relay, and the gateway its upstream, that has no public address: { network, subnetwork, tags, egress }."
  type        = any # an object type would drop a misspelt key without a word
  default     = null
  validation {
    condition     = var.vpc == null || try(toset(setsubtract(keys(var.vpc), ["tags", "egress"])) == toset(["network", "subnetwork"]), false)
    error_message = "vpc must have network and subnetwork, may have tags and egress, and nothing else."
  }
  validation {
    condition     = contains(["PRIVATE_RANGES_ONLY", "ALL_TRAFFIC"], try(var.vpc.egress, "PRIVATE_RANGES_ONLY"))
    error_message = "vpc.egress must be PRIVATE_RANGES_ONLY, the default, or ALL_TRAFFIC, with which everything leaves through the network: it then needs a way out to Google's APIs."
  }
}

variable "gateway" {
  description = "RelayGateway, the relay side, if the relay does not have it: { upstream = \"wss://relay.example.com\", or \"\" for none, hosts = [\"keys.example.com\"], ... }. Null: none. terraform/README.md lists all keys."
  type        = any # an object type would drop a misspelt key without a word
  default     = null
  validation {
    condition     = var.gateway == null || try(length(setsubtract(keys(var.gateway), keys(local.default_gateway))) == 0, false)
    error_message = "gateway may have upstream, hosts, shares_login, requests_served_by, req_claims, max_stock, trusted_proxy_hops, sessions, min_instances and max_instances, and nothing else."
  }
  validation {
    condition     = try(try(var.gateway.upstream, local.default_gateway.upstream) == "" || can(regex("^wss?://(${local.dns_label}\\.)*${local.dns_label}(:[0-9]{1,5})?(/(${local.url_character})*)?$", try(var.gateway.upstream, local.default_gateway.upstream))), false)
    error_message = "gateway.upstream must be wss:// (or ws://), a host name and perhaps a path, without user information, query and fragment, or empty for a relay of KeyPackages only."
  }
  validation {
    condition     = try(alltrue([for port in regexall("^wss?://[^/]*:([0-9]+)", var.gateway.upstream) : tonumber(port[0]) >= 1 && tonumber(port[0]) <= 65535]), true)
    error_message = "gateway.upstream must have a port from 1 to 65535, or none."
  }
  validation {
    condition     = !startswith(try(tostring(var.gateway.upstream), ""), "ws://") || var.vpc != null
    error_message = "gateway.upstream may be ws:// only through a vpc: what clients say would be read on the way."
  }
  validation {
    condition     = try(alltrue([for host in try(var.gateway.hosts, local.default_gateway.hosts) : can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", host))]), false)
    error_message = "gateway.hosts must be a list of names such as keys.example.com: lower case, without scheme, port and path."
  }
  validation {
    condition     = try(alltrue([for flag in [try(var.gateway.shares_login, local.default_gateway.shares_login), try(var.gateway.req_claims, local.default_gateway.req_claims)] : tobool(flag) != null]), false)
    error_message = "gateway.shares_login and gateway.req_claims must be true or false."
  }
  validation {
    condition     = try(contains(["gateway", "functions"], try(var.gateway.requests_served_by, local.default_gateway.requests_served_by)), false)
    error_message = "gateway.requests_served_by must be gateway or functions."
  }
  validation {
    condition     = try(try(var.gateway.requests_served_by, local.default_gateway.requests_served_by) != "functions" || try(var.gateway.max_instances, local.default_gateway.max_instances) == 1, false)
    error_message = "gateway.max_instances must be 1 if requests_served_by is functions: a push reaches one instance only."
  }
  validation {
    condition     = try(try(var.gateway.max_stock, local.default_gateway.max_stock) >= 1 && try(var.gateway.max_stock, local.default_gateway.max_stock) <= 500 && floor(try(var.gateway.max_stock, local.default_gateway.max_stock)) == try(var.gateway.max_stock, local.default_gateway.max_stock), false)
    error_message = "gateway.max_stock must be a whole number from 1 to 500: a claim reads hardly further."
  }
  validation {
    condition     = try(contains(range(0, 5), try(var.gateway.trusted_proxy_hops, local.default_gateway.trusted_proxy_hops)), false)
    error_message = "gateway.trusted_proxy_hops must be a whole number from 0 to 4: 1 on Cloud Run, 2 behind a load balancer."
  }
  validation {
    condition     = try(contains(range(1, 1001), try(var.gateway.sessions, local.default_gateway.sessions)), false)
    error_message = "gateway.sessions must be a whole number from 1 to 1000, which is the most that Cloud Run gives an instance."
  }
  validation {
    condition     = try(contains(range(0, 101), try(var.gateway.min_instances, local.default_gateway.min_instances)), false)
    error_message = "gateway.min_instances must be a whole number from 0 to 100."
  }
  validation {
    condition     = try(contains(range(1, 1001), try(var.gateway.max_instances, local.default_gateway.max_instances)) && try(var.gateway.max_instances, local.default_gateway.max_instances) >= try(var.gateway.min_instances, local.default_gateway.min_instances), false)
    error_message = "gateway.max_instances must be a whole number from 1 to 1000, and not below min_instances."
  }
}

locals {
  dns_label     = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
  url_character = "[A-Za-z0-9/._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2}"

  default_gateway = {
    upstream           = ""        # none: a relay of KeyPackages only
    hosts              = []        # besides the address that Cloud Run gives it
    shares_login       = false     # only if upstream and gateway have one operator
    requests_served_by = "gateway" # or functions
    req_claims         = true      # a REQ is a request
    max_stock          = 200       # KeyPackages of one owner that are kept
    trusted_proxy_hops = 1         # Cloud Run's own
    sessions           = 500       # of an instance at once; with their queues they fit into its memory
    min_instances      = 1         # clients give up after two seconds, which is about a cold start
    max_instances      = 10
  }
  gateway = merge(local.default_gateway, var.gateway)
}
