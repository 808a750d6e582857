"""Protocols, and everything that is needed to write one."""

from zslbench.protocols.protocol import Judgement, Protocol, ProtocolCard

__all__ = ["Judgement", "Protocol", "ProtocolCard"]
