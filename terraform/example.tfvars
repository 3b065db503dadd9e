# The smallest thing that works: a project with billing, and a relay that has the delivery endpoint, or the gateway before any
# relay instead.
project_id         = "my-project"
region             = "us-central1"
relay_delivery_url = "https://relay.example.com/internal/v1/deliveries"
# gateway = { upstream = "wss://relay.example.com", hosts = ["keys.example.com"] }

# For a database that exists already, see Roll-out in README.md: begin with off.
# create_database = false
# rollout_mode    = "off"
