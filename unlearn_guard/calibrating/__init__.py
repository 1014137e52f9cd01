"""The gate over the zoo: what it lets through, what it turns away, and which measurement tells the truth."""
