"""Many files: conversion, counts, records."""
