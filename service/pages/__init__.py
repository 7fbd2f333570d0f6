"""What people see in a browser: a dashboard, tickets to judge, the report, and the sign-in. Included by `app`."""
