"""The one road of every event: accept it (store), deliver it (send, try again), say what came of it (acknowledge)."""
