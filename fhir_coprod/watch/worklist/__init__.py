"""What people do with alerts: acknowledge, put aside, release a letter; and what nobody watches."""
