"""Ops that an engine may lack, written in ops that every engine has."""
