"""What users and Renga itself test with: a stream checker, a scripted upstream, one conformance suite a seam."""
