"""Files of ``torch.save``, read without PyTorch."""
