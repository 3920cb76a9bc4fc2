"""The stage `sft`: a policy fine-tuned on given answers, before the first stage of reinforcement learning."""
