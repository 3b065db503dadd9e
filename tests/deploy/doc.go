// Package deploy tests that what is deployed works before it is deployed: the upload is built as Google's Go buildpack
// builds it, and served; Terraform, the gcloud commands and the code agree on names, settings and log fields; and what the papers name
// exists.
package deploy
