"""What happens at night: base checkpoint + dataset → LoRA → merged model → evaluation → gate."""

import warnings

# peft 0.21 asks transformers 5.23, which it was released before, by the old name: nothing that an admin can mend.
warnings.filterwarnings("ignore", ".is_gradient_checkpointing. is deprecated", FutureWarning)
