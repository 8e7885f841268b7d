"""What both halves of the connector, the tier, the doctor and the router use; imports none of them."""
