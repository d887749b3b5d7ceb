"""BERT and RoBERTa: what the papers and the official code say."""

# google-research/bert at eedf571: modeling.py, create_pretraining_data.py (short_seq_prob 0.1, dupe_factor 10),
# run_pretraining.py and README (max_predictions_per_seq 20 at 128 tokens), optimization.py; arXiv 1810.04805, appendix
# A.2: batch 256, 1,000,000 steps, Adam 1e-4, warm-up of 10,000 steps, decay 0.01, dropout 0.1.
BASE = {
    "method.name": "bert", "method.length": 512, "method.packing": "pairs", "method.copies": 10,
    "method.next_sentence": True, "method.mask_ratio": 0.15, "method.most_masked": 77, "method.rounding": "nearest",
    "method.random_specials": True, "method.vocabulary": 30522, "method.lower_case": True, "model.size": "base",
    "model.positions": 512, "model.dropout": 0.1, "model.attention_dropout": 0.1, "model.activation": "gelu_tanh",
    "model.epsilon": 1e-12, "train.batch_size": 256, "train.steps": 1_000_000, "optim.name": "adamw", "optim.b1": 0.9,
    "optim.b2": 0.999, "optim.eps": 1e-6, "optim.bias_correction": False, "optim.weight_decay": 0.01,
    "optim.clip_norm": 1.0, "optim.schedule": "linear_bert", "optim.warmup_steps": 10_000, "learning_rate": 1e-4,
    "optim.groups": {"vectors": {"weight_decay": 0.0}},
}  # fmt: skip
# facebookresearch/fairseq, examples/roberta/config/pretraining/base.yaml: batch 16 on 8 GPUs, 16 accumulated, 125,000
# updates of lr 5e-4, Adam 0.9, 0.98, eps 1e-6, decay 0.01, clip_norm 0, polynomial decay after 10,000 updates.
ROBERTA = BASE | {
    "method.packing": "full", "method.copies": 1, "method.next_sentence": False, "method.rounding": "random",
    "method.random_specials": False, "method.vocabulary": 50265, "method.most_masked": 80, "method.lower_case": False,
    "model.activation": "gelu", "model.epsilon": 1e-5, "train.batch_size": 2048, "train.steps": 125_000,
    "optim.b2": 0.98, "optim.bias_correction": True, "optim.clip_norm": 0.0, "optim.schedule": "linear",
    "learning_rate": 5e-4,
}  # fmt: skip

RECIPES = {
    "base_128": BASE | {"method.length": 128, "method.most_masked": 20, "train.steps": 900_000},
    "base_512": BASE,
    "large_512": BASE | {"model.size": "large"},
    "roberta_base": ROBERTA,
}
PUBLISHED = {
    "base_512": "84.6 (fine-tuned)", "large_512": "86.7 (fine-tuned)", "roberta_base": "87.6 (fine-tuned)",
}  # fmt: skip
