"""Models trained in torch after their graph was changed: fine-tuning and distillation."""
