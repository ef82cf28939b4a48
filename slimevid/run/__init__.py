"""``slimevid run``: request -> checks -> session -> frame loop -> exports, resumable after a kill at any write.

:mod:`slimevid.run.output_folder` owns every file name, :mod:`slimevid.run.context` the values that the stages share.
"""
