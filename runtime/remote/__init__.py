"""What `pocketlens live` sends over the network: MQTT, Home Assistant, a webhook."""
