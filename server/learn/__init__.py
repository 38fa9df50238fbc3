"""What happens at night: base checkpoint + dataset → LoRA → merged model → evaluation → gate."""
