"""The lab: a teacher, a student and the student alone, in the plane, trained together in memory."""

from nfkd.lab.training import LabTraining

__all__ = ["LabTraining"]
