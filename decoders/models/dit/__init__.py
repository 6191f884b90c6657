"""Diffusion transformers of MDLM's kin, which no class of transformers runs: MDLM, BD3-LM and SEDD."""
