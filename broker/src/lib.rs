//! One Fabric handle over MQTT: any broker through rumqttc, or the embedded rumqttd
