CREATE DATABASE opsiq_keys;
