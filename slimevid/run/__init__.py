"""``slimevid run``: request -> checks -> session -> frame loop -> exports.

A run can be resumed after a kill at any write.
"""
