# The smallest thing that works: a project with billing, and a relay that has the delivery endpoint.
project_id         = "my-project"
region             = "us-central1"
relay_delivery_url = "https://relay.example.com/internal/v1/deliveries"
