"""The endpoints, by subject. `infra.http.app` joins them."""
